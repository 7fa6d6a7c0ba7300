"""Configurations: those shipped follow the paper and each other, wrong ones are refused."""

from pathlib import Path

import pytest

from musicstar import config, recipes, training
from musicstar.recipes import OptimizerConfig, TrainConfig


def test_everything_walks_all_parts_in_order() -> None:
    made: set[str] = set()
    for name in recipes.EVERYTHING:
        planned = recipes.runs(name)
        for settings in planned.values():
            assert {settings.begin_with} <= made | {""}, name
            assert not settings.decoders_from or any(run.startswith(settings.decoders_from) for run in made), name
            if settings.recipe == "embedding":
                assert any(run.startswith(settings.backbone) and "universal" in run for run in made), name
        made |= set(planned)


def test_learning_rates() -> None:
    cosine = OptimizerConfig(learning_rate=1.0, warmup_steps=10)
    assert cosine.rate(4, 1000) == pytest.approx(0.5, rel=1e-3)
    assert cosine.rate(500, 1000) == pytest.approx(0.5)
    assert cosine.rate(1000, 1000) == pytest.approx(0.02)
    falling = OptimizerConfig(learning_rate=1.0, warmup_steps=0, schedule="exponential", decay=0.98, epoch_steps=100)
    assert [falling.rate(step, 1000) for step in (0, 99, 100, 250)] == pytest.approx([1, 1, 0.98, 0.98**2])


def test_the_papers_settings() -> None:
    mixture = config.parse(TrainConfig, config.load_table("wavenet-mixture"))
    assert (mixture.batch_size, mixture.window_samples) == (16, 16_000)
    assert (mixture.optimizer.learning_rate, mixture.optimizer.decay) == (3e-4, 0.99)
    decoders = config.parse(TrainConfig, config.load_table("wavenet-decoders"))
    assert (decoders.optimizer.learning_rate, decoders.optimizer.decay) == (1e-3, 0.98)
    embedding = config.parse(TrainConfig, config.load_table("wavenet-embedding"))
    assert (embedding.window_samples, embedding.optimizer.decay) == (12_000, 0.98)
    universal = config.parse(TrainConfig, config.load_table("wavenet-universal"))
    assert (universal.loss.adversary, universal.loss.warp_semitones) == (0.01, 0.5)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('extends = "spectral-mixture"\nspeed = 3\n', "unknown key 'speed'"),
        ('extends = "spectral-mixture"\nsteps = "many"\n', "'many' is not a int"),
        ('extends = "spectral-mixture"\n[optimizer]\nschedule = "linear"\n', "schedule"),
        ('extends = "nothing"\n', "no configuration 'nothing'"),
        ("steps = = 3", "not valid TOML"),
        ("extends = 5", "extends is 5"),
        ('extends = "wrong"\n', "extends itself"),
        ('extends = "spectral-mixture"\nvoices = []\n', "voices names nothing"),
        ('extends = "spectral-mixture"\nbudget_share = 0.0\n', "budget_share is 0"),
        ('extends = "spectral-mixture"\n[loss]\npower = nan\n', "not a finite number"),
        ('extends = "spectral-mixture"\n[optimizer]\nbetas = [0.9]\n', "two betas"),
        ('extends = "spectral-mixture"\nbackbone = "jazz"\n', "'jazz' is not one of spectral, wavenet, demucs"),
        ('extends = "spectral-mixture"\nfreeze = ["ears"]\n', "cannot freeze 'ears'"),
        ('extends = "spectral-stem"\nvoices = ["cv"]\n', "stem is for single instruments, of clarinet"),
        ('extends = "spectral-mixture"\nbegin_parts = ["encoder"]\n', "begin_with says not of what"),
        ('backbone = "spectral"\n', "missing"),
    ],
)
def test_wrong_configurations_are_refused(text: str, sentence: str, data: Path, tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(config.ConfigError, match=sentence):
        training.train([str(path)], data=data, out=tmp_path)
