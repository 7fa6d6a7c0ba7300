"""The five classes by name, in the order of the paper's Table 1."""

from musicstar.methods.embedding import EmbeddingSupervised
from musicstar.methods.method import Method
from musicstar.methods.mixture import MixtureSupervised
from musicstar.methods.separation import SeparationBased
from musicstar.methods.single import SingleInstrument
from musicstar.methods.stem import StemSupervised

CLASSES: dict[str, type[Method]] = {
    kind.name: kind
    for kind in (SingleInstrument, SeparationBased, EmbeddingSupervised, StemSupervised, MixtureSupervised)
}
