// The paper's WaveNets on a processor: what Python calls. No exception may pass; a null pointer or -1 says that memory
// ran out.

#include "decoder.h"
#include "encoder.h"

#if defined(__AMX_BF16__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

extern "C" {

// Whether the system lets this process have all that the engine was compiled for: of the matrix unit it is asked.
int engine_permitted() {
#if defined(__AMX_BF16__)
  constexpr int ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18;
  return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
#else
  return 1;
#endif
}

void* decoder_new(int bfloat, const DecoderSizes* sizes, const int32_t* dilations, const float* const* tensors) try {
  AnyDecoder* made;
  if (bfloat) made = new Decoder<bfloat16>(*sizes, dilations, Reader{tensors});
  else made = new Decoder<float>(*sizes, dilations, Reader{tensors});
  return made;
} catch (const std::bad_alloc&) {
  return nullptr;
}

void decoder_free(void* decoder) { delete static_cast<AnyDecoder*>(decoder); }

void* stream_new(int bfloat, void* decoder) try {
  AnyStream* made;
  auto* net = static_cast<AnyDecoder*>(decoder);
  if (bfloat) made = new Stream<bfloat16>(static_cast<Decoder<bfloat16>&>(*net));
  else made = new Stream<float>(static_cast<Decoder<float>&>(*net));
  return made;
} catch (const std::bad_alloc&) {
  return nullptr;
}

void stream_free(void* stream) { delete static_cast<AnyStream*>(stream); }

// Streams of one decoder, `steps` steps; -1 where memory ran out.
int play(const Item* items, int count, int steps) try {
  static_cast<AnyStream*>(items[0].stream)->play(items, count, steps);
  return 0;
} catch (const std::bad_alloc&) {
  return -1;
}

void* encoder_new(int bfloat, const EncoderSizes* sizes, const int32_t* dilations, const float* const* tensors) try {
  AnyEncoder* made;
  if (bfloat) made = new Encoder<bfloat16>(*sizes, dilations, Reader{tensors});
  else made = new Encoder<float>(*sizes, dilations, Reader{tensors});
  return made;
} catch (const std::bad_alloc&) {
  return nullptr;
}

void encoder_free(void* encoder) { delete static_cast<AnyEncoder*>(encoder); }

void* reading_new(int bfloat, void* encoder) try {
  AnyReading* made;
  auto* net = static_cast<AnyEncoder*>(encoder);
  if (bfloat) made = new Reading<bfloat16>(static_cast<Encoder<bfloat16>&>(*net));
  else made = new Reading<float>(static_cast<Encoder<float>&>(*net));
  return made;
} catch (const std::bad_alloc&) {
  return nullptr;
}

void reading_free(void* reading) { delete static_cast<AnyReading*>(reading); }

// The means of each whole pool of moments, [frames][channels], -1 where memory ran out.
int reading_read(void* reading, const uint8_t* codes, int n, int last, int threads, float* means) try {
  return static_cast<AnyReading*>(reading)->read(codes, n, last, threads, means);
} catch (const std::bad_alloc&) {
  return -1;
}

}  // extern "C"
