"""The engine in plain PyTorch: runs wherever PyTorch does, and on CUDA as graphs that are recorded once.

What a decoder computes for one sample depends on its layers' inputs `dilation` samples ago. They are kept in
rings, so that a sample costs one column of the teacher-forced pass. Products are few and large: the rings'
share of all layers is known before a sample begins and is one batched product, the latents' share changes
once per latent frame, and a single product sums all skips.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from musicstar.engines.base import START, Ask, Said
from musicstar.wavenet import CLASSES, Decoder, Encoder, scale

GRAPH_STEPS = 50


class UnrolledStream:
    """One clip on its way through a decoder; while it is in a company, that holds its state.

    Attributes
    ----------
    rings : Tensor[sum of dilations, channels], each layer's last inputs, what is read next first; None of a new clip
    codes : the last two, the older one first
    latents : Tensor[latent_channels] it follows
    """

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self.company: _Company | None = None
        self.rings: Tensor | None = None
        self.codes = (START, START)
        self.latents = torch.zeros(decoder.config.latent_channels)


class UnrolledEngine:
    """Streams of one decoder go together, on the device where its weights are."""

    name = "torch"
    players, at_once = 1, 64

    def stream(self, decoder: Decoder) -> UnrolledStream:
        return UnrolledStream(decoder)

    @torch.inference_mode()
    def play(self, asks: Sequence[Ask[UnrolledStream]], steps: int, *, logits: bool = False) -> list[Said]:
        together: dict[tuple[int, bool, bool], list[int]] = {}
        for i, ask in enumerate(asks):
            kind = id(ask.stream.decoder), ask.draws is None, ask.forced is None
            together.setdefault(kind, []).append(i)
        said: dict[int, Said] = {}
        for members in together.values():
            said |= zip(members, _play_together([asks[i] for i in members], steps, logits=logits), strict=True)
        return [said[i] for i in range(len(asks))]

    @torch.inference_mode()
    def encode(self, encoder: Encoder, blocks: Iterable[Tensor]) -> Tensor:
        return encoder.read(blocks)


def _play_together(asks: list[Ask[UnrolledStream]], steps: int, *, logits: bool) -> list[Said]:
    """Carry on streams of one decoder that are all asked for the same kind of choice."""
    streams = [ask.stream for ask in asks]
    company = streams[0].company
    if company is None or company.streams != streams:
        for stream in streams:
            if stream.company is not None:
                stream.company.part()
        company = _Company(streams)
    company.listen([ask.latents for ask in asks])

    def stacked(tensors: list[Tensor | None]) -> Tensor | None:
        given = [tensor[:steps] for tensor in tensors if tensor is not None]
        return torch.stack(given, 1).to(company.device) if given else None

    codes, odds = company.play(
        steps,
        draws=stacked([ask.draws for ask in asks]),
        forced=stacked([ask.forced for ask in asks]),
        inverse_temperature=torch.tensor([[1 / ask.temperature] for ask in asks], device=company.device),
        logits=logits,
    )
    return [Said(codes[:, b], None if odds is None else odds[:, b]) for b in range(len(asks))]


class _Folded:
    """A decoder's weights as a step takes them.

    Three foldings save work without changing the result. A gate is sigmoid(g) = (tanh(g / 2) + 1) / 2: one
    tanh serves gate and signal, the halves go into the weights around. The residual biases summed up to a
    layer, its `drift`, leave the stream for that layer's bias. The first convolution is a table of codes.
    """

    def __init__(self, decoder: Decoder) -> None:
        width, depth = decoder.config.channels, len(decoder.config.dilations)
        state = {name: tensor.float() for name, tensor in decoder.state_dict().items()}
        self.device = device = state["first_conv.weight"].device

        def of_layers(name: str) -> Tensor:
            return torch.stack([state[f"layers.{i}.{name}"] for i in range(depth)])

        halves = torch.tensor([0.5, 1.0], device=device).repeat_interleave(width)
        causal = of_layers("causal.weight").transpose(1, 2) * halves[:, None]
        self._past_weight = causal[..., 0].contiguous()
        self._present_weights = causal[..., 1].contiguous().unbind(0)
        residual = of_layers("residual.weight")[..., 0].transpose(1, 2) / 2
        self._residual_weights = residual.contiguous().unbind(0)
        self._drift = drift = (of_layers("residual.bias").cumsum(0) - of_layers("residual.bias"))[:, None]
        bias = (of_layers("causal.bias") + of_layers("condition.bias")) * halves
        self._bias = bias[:, None] + drift @ causal.sum(-1)
        self._latent_weight = of_layers("condition.weight")[..., 0].transpose(1, 2) * halves

        skips = (of_layers("skip.weight")[..., 0].transpose(1, 2) / 2).flatten(0, 1)
        self._skip_weight = torch.cat([skips, state["skip_conv.weight"][..., 0].t()])
        self._skip_bias = state["skip_conv.bias"] + of_layers("skip.bias").sum(0)
        self._hidden_weight = state["fc.weight"][..., 0].t().contiguous()
        self._hidden_bias = state["fc.bias"] + state["condition.bias"]
        self._hidden_latent_weight = state["condition.weight"][..., 0].t().contiguous()
        self._logits_weight = state["logits.weight"][..., 0].t().contiguous()
        self._logits_bias = state["logits.bias"]

        levels = torch.zeros(CLASSES + 1, 1, 1, device=device)
        levels[:CLASSES, 0, 0] = scale(torch.arange(CLASSES, device=device))
        self._previous_table, present = (levels * state["first_conv.weight"][:, 0]).unbind(-1)
        self._present_table = present + state["first_conv.bias"]


class _Company(_Folded):
    """Streams of one decoder side by side."""

    def __init__(self, streams: list[UnrolledStream]) -> None:
        super().__init__(streams[0].decoder)
        self.streams = streams
        config, batch, device = streams[0].decoder.config, len(streams), self.device
        width, depth = config.channels, len(config.dilations)
        said = torch.tensor([stream.codes for stream in streams], device=device)
        self._previous, self._code = said[:, 0].clone(), said[:, 1].clone()

        # All rings share a buffer, `dilation` rows per layer; a moment's rows are read, then overwritten.
        self._dilations = torch.tensor(config.dilations, device=device)
        self._firsts = self._dilations.cumsum(0) - self._dilations
        self._time = 0
        self._clock = torch.zeros((), dtype=torch.int64, device=device)
        silent = (-self._drift[:, 0]).repeat_interleave(self._dilations, 0)
        self._rings = torch.stack([silent if stream.rings is None else stream.rings for stream in streams], 1)
        self._past = torch.empty(depth, batch, width, device=device)
        self._inputs = torch.empty(depth, batch, width, device=device)
        self._input_of = self._inputs.unbind(0)
        self._gated = torch.empty(depth, batch, 2 * width, device=device)
        self._gated_of = [(layer, layer[:, :width], layer[:, width:]) for layer in self._gated]
        self._outputs = torch.empty(batch, (depth + 1) * width, device=device)
        self._output_of = torch.split(self._outputs, width, dim=1)
        self._latents = torch.stack([stream.latents for stream in streams]).to(device)
        self._conditions = torch.empty(depth, batch, 2 * width, device=device)
        self._hidden_condition = torch.empty(batch, config.skip_channels, device=device)
        self._condition()
        # A moment's rows are looked up where time passes on the host, computed where it passes in a graph.
        moments = torch.arange(max(config.dilations), device=device)[:, None] % self._dilations
        self._rows = (self._firsts + moments).unbind(0)
        self._graph: _Graph | None = None
        for stream in streams:
            stream.company = self

    def part(self) -> None:
        """Give every stream its own state back."""
        spans, firsts = (tensor.repeat_interleave(self._dilations) for tensor in (self._dilations, self._firsts))
        places = torch.arange(len(self._rings), device=self.device) - firsts
        rings = self._rings[firsts + (places + self._time) % spans]
        for b, stream in enumerate(self.streams):
            stream.company, stream.rings = None, rings[:, b].clone()
            stream.codes = int(self._previous[b]), int(self._code[b])
            stream.latents = self._latents[b].clone()

    def listen(self, latents: Sequence[Tensor | None]) -> None:
        """Condition the following samples on new latents, Tensor[latent_channels] each, where there are any."""
        changed = [b for b, row in enumerate(latents) if row is not None]
        if changed:
            self._latents[changed] = torch.stack([row for row in latents if row is not None]).to(self._latents)
            self._condition()

    def _condition(self) -> None:
        shared = self._latents.expand(len(self._input_of), -1, -1)
        torch.baddbmm(self._bias, shared, self._latent_weight, out=self._conditions)
        torch.addmm(self._hidden_bias, self._latents, self._hidden_latent_weight, out=self._hidden_condition)

    def play(
        self, steps: int, *, draws: Tensor | None, forced: Tensor | None, inverse_temperature: Tensor, logits: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Codes Tensor[steps, B], and their logits Tensor[steps, B, 256] where asked for."""
        codes: list[Tensor] = []
        odds: list[Tensor] = []
        if self.device.type == "cuda" and forced is None and not logits:
            codes += self._replay(steps, draws, inverse_temperature)
        for t in range(len(codes), steps):
            rows = self._rows[self._time % len(self._rows)]
            self._time += 1
            scores = self._step(rows)
            draw = None if draws is None else draws[t]
            chosen = _pick(scores, draw, inverse_temperature) if forced is None else forced[t]
            self._code.copy_(chosen)
            codes.append(chosen)
            if logits:
                odds.append(scores)
        return torch.stack(codes), torch.stack(odds) if logits else None

    def _replay(self, steps: int, draws: Tensor | None, inverse_temperature: Tensor) -> list[Tensor]:
        """The first steps, as many as whole recorded graphs take; the host then launches one thing for all of them."""
        if steps < GRAPH_STEPS:
            return []
        if self._graph is None:
            self._graph = _Graph(self._graphed, len(self.streams), drawn=draws is not None, device=self.device)
        codes: list[Tensor] = []
        self._clock.fill_(self._time)
        while len(codes) + GRAPH_STEPS <= steps:
            some = None if draws is None else draws[len(codes) : len(codes) + GRAPH_STEPS]
            codes += self._graph.replay(some, inverse_temperature)
        self._time += len(codes)
        return codes

    def _graphed(self, draw: Tensor | None, inverse_temperature: Tensor) -> Tensor:
        """A step in which time passes on the device."""
        scores = self._step(self._firsts + self._clock % self._dilations)
        self._clock.add_(1)
        self._code.copy_(_pick(scores, draw, inverse_temperature))
        return self._code

    def _step(self, rows: Tensor) -> Tensor:
        """Logits of the next sample, Tensor[B, 256], given the rows of the rings that hold what was `dilation` ago."""
        torch.index_select(self._rings, 0, rows, out=self._past)
        torch.baddbmm(self._conditions, self._past, self._past_weight, out=self._gated)
        x = self._input_of[0]
        torch.add(self._previous_table[self._previous], self._present_table[self._code], out=x)
        self._output_of[-1].copy_(x)
        self._previous.copy_(self._code)
        last = len(self._input_of) - 1
        for i, (both, gate, signal) in enumerate(self._gated_of):
            both.addmm_(x, self._present_weights[i]).tanh_()
            z = torch.addcmul(signal, gate, signal, out=self._output_of[i])
            if i < last:
                x = torch.addmm(x, z, self._residual_weights[i], out=self._input_of[i + 1])
        self._rings.index_copy_(0, rows, self._inputs)
        hidden = torch.addmm(self._skip_bias, self._outputs, self._skip_weight).relu_()
        hidden = torch.addmm(self._hidden_condition, hidden, self._hidden_weight).relu_()
        return torch.addmm(self._logits_bias, hidden, self._logits_weight)


class _Graph:
    """`GRAPH_STEPS` steps recorded as a CUDA graph, with its inputs and outputs in fixed places."""

    def __init__(
        self, step: Callable[[Tensor | None, Tensor], Tensor], batch: int, *, drawn: bool, device: torch.device
    ) -> None:
        self._draws = torch.zeros(GRAPH_STEPS, batch, device=device) if drawn else None
        self._inverse = torch.ones(batch, 1, device=device)
        self._codes = torch.zeros(GRAPH_STEPS, batch, dtype=torch.int64, device=device)
        self._recorded = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._recorded):
            for t in range(GRAPH_STEPS):
                self._codes[t] = step(None if self._draws is None else self._draws[t], self._inverse)

    def replay(self, draws: Tensor | None, inverse_temperature: Tensor) -> list[Tensor]:
        """Codes, Tensor[B] for each step."""
        if self._draws is not None and draws is not None:
            self._draws.copy_(draws)
        self._inverse.copy_(inverse_temperature)
        self._recorded.replay()
        return list(self._codes.clone())


def _pick(logits: Tensor, draw: Tensor | None, inverse_temperature: Tensor) -> Tensor:
    """The codes, Tensor[B], where distributions of logits, Tensor[B, 256], pass draws; without these the likeliest."""
    if draw is None:
        return logits.argmax(1)
    cumulated = (logits * inverse_temperature).softmax(1).cumsum(1)
    found = torch.searchsorted(cumulated, draw[:, None], right=True).squeeze(1)
    # Rounding may leave the whole distribution just below a draw close to 1.
    return torch.where(found < CLASSES, found, logits.argmax(1))
