"""The benchmark's reference is an oracle of the fast code, and the benchmark itself runs."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import __main__ as command
from benchmarks import icc, limits, reference, stage1
from benchmarks.growth import Curve
from benchmarks.measure import ROOT, Row, in_fresh_process, side_by_side, table
from benchmarks.problem import (
    FULL,
    ISIC2019,
    QUICK,
    features_of,
    gaussians_of,
    long_tail,
    m_step_of,
    regularised,
)
from lmd.losses.distance import prepare_metric
from lmd.losses.virtual import Chunk, VirtualFeatures
from lmd.stages.base import Supervised


def test_the_reference_draws_what_virtual_features_draw() -> None:
    """Means and covariances of 20,000 draws of each class; tolerance: six standard errors of a difference."""
    gaussians, draws = regularised(gaussians_of(QUICK.counts, QUICK.channels)), 20_000
    listed = reference.draw(gaussians.mean.numpy(), gaussians.covariance.numpy(), draws, seed=0)
    assert len(listed) == 4 * draws
    source = VirtualFeatures(gaussians, torch.float64)
    fast = source.draw(Chunk(0, 4 * draws, 0))
    for k in range(4):
        slow = torch.stack([row for row, label in listed if label == k])
        sigma = gaussians.matrix(k)
        variances = sigma.diagonal()
        error = (2 * variances / draws).sqrt()
        assert bool(((slow.mean(0) - fast[k::4].mean(0)).abs() < 6 * error).all())
        spread = (2 * (sigma.square() + variances[:, None] * variances) / draws).sqrt()
        difference = np.cov(slow.numpy().T) - np.cov(fast[k::4].numpy().T)
        assert bool((torch.from_numpy(difference).abs() < 6 * spread).all())


def test_distances_and_their_gradients_equal_the_reference() -> None:
    gaussians = regularised(gaussians_of(QUICK.fdc_counts, QUICK.channels))
    features, labels = features_of(QUICK.fdc_counts, QUICK.channels, seed=1)
    metric = prepare_metric(gaussians)
    found = metric.distances(features)
    expected = reference.distances(features.double(), gaussians.mean, gaussians.covariance)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=0)
    gradients = []
    for batch, loss in (
        (features.clone(), lambda z: icc.consistency(metric.distances(z), labels)),
        (features.double(), lambda z: reference.consistency(z, labels, gaussians.mean, gaussians.covariance)),
    ):
        batch.requires_grad_()
        loss(batch).backward()
        gradients.append(batch.grad)
    assert float((gradients[0] - gradients[1]).norm()) < 1e-4 * float(gradients[1].norm())


def test_the_sampled_m_step_reaches_what_the_reference_reaches() -> None:
    """Other draws of the same distribution: the classifiers differ by less than a tenth of the way they went."""
    gaussians = gaussians_of(QUICK.counts, QUICK.channels)
    size = QUICK
    m_step = m_step_of(size, "cpu", optimisation={"lr": 0.05, "weight_decay": 1e-4})
    classifier = m_step.context.network.classifier  # type: ignore[attr-defined]
    trained = copy.deepcopy(classifier)
    start = trained.weight.detach().clone()
    m_step.fit(regularised(gaussians), 0)
    target = regularised(gaussians)
    torch.manual_seed(0)
    reference.m_step(
        trained,
        target.mean.numpy(),
        target.covariance.numpy(),
        size.virtual_per_class,
        size.m_step_batch,
        0.05,
    )
    moved = float((trained.weight.detach() - start).norm())
    assert float((trained.weight - classifier.weight).detach().norm()) < 0.1 * moved


def test_the_counts_are_those_of_isic_2019_lt() -> None:
    """Imbalance 100 before the split; the largest class keeps all its images."""
    counts = long_tail(ISIC2019, 100)
    assert counts == FULL.counts
    assert counts[0] == 9012
    assert counts[0] / counts[-1] == pytest.approx(100, rel=0.02)
    assert list(counts) == sorted(counts, reverse=True)


def test_one_exact_gradient_has_a_smaller_error_than_r_draws() -> None:
    (row,) = icc.gradient_error_rows(QUICK, "cpu", gaussians_of(QUICK.counts, QUICK.channels))
    assert row.met
    assert 0 < row.ours < 0.05


def test_the_limits_do_their_work() -> None:
    gaussians = gaussians_of(QUICK.counts, QUICK.channels)
    limits.sampled_m_step(QUICK, gaussians)()
    limits.distances(features_of(QUICK.counts, QUICK.channels)[0], gaussians)()


def test_ratios_speak_of_the_target() -> None:
    cheaper = Row("a", ours=1.0, other=10.0, against="b", unit="s", goal="at least", target=8)
    near = Row("c", ours=1.6, other=1.0, against="d", unit="s", goal="at most", target=1.5)
    assert (cheaper.ratio, cheaper.met) == (10.0, True)
    assert (near.ratio, near.met) == (1.6, False)
    assert "| a | 1 s | b: 10 s | 10 | at least 8 | yes |" in table([cheaper, near])


def test_an_exponent_is_the_slope() -> None:
    assert Curve("N", "t", [1, 2, 4], [3.0, 12.0, 48.0]).exponent == pytest.approx(2)


def test_tasks_are_timed_in_turn() -> None:
    calls: list[str] = []
    times = side_by_side("cpu", 2, ours=lambda: calls.append("ours"), slow=lambda: calls.append("slow"))
    assert calls == ["ours", "ours", "slow", "ours", "slow"]
    assert all(seconds > 0 for seconds in times.values())


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux says how much memory was used")
def test_memory_is_that_of_the_task() -> None:
    # In a process of its own: one that has freed as much before takes nothing new.
    code = "import torch; from benchmarks.measure import peak_memory as peak\n"
    code += "print(peak('cpu', lambda: torch.ones(2**26).sum()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    need = int(done.stdout)
    assert 0.9 * 2**28 < need < 1.1 * 2**28  # What else the process gives back or takes is far less.
    assert 10**6 < in_fresh_process("sampled", "cpu", quick=True) < 10**9


def test_the_benchmark_runs_and_writes_its_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(icc, "in_fresh_process", lambda *arguments, **keywords: 10**6)
    assert command.main(["--quick", "--runs", "1", "--out", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "icc-cpu.json").read_text())
    assert results["environment"]["packages"]["torch"] in torch.__version__  # Without "+cpu".
    assert len(results["rows"]) == 14
    assert {curve["quantity"] for curve in results["growth"]} == {"N", "R", "K", "C"}
    assert (tmp_path / "growth-cpu.png").stat().st_size > 1000
    out = capsys.readouterr().out
    for part, rows in (("icc", 14), ("stage1", 6)):
        assert len(json.loads((tmp_path / f"{part}-cpu.json").read_text())["rows"]) == rows
        assert (tmp_path / f"{part}-cpu.md").read_text() in out


def test_the_bare_passes_leave_a_gradient_of_every_parameter_and_move_none() -> None:
    """What stage 1 is held against does all its passes, and nothing of what is ours."""
    stage = stage1.stage_of("lmd", stage1.QUICK[0], 2, "cpu")
    before = [parameter.detach().clone() for parameter in stage.network.parameters()]
    passes = []
    hook = stage.network.register_forward_hook(lambda *_: passes.append("student"))
    other = stage.teacher.network.register_forward_hook(lambda *_: passes.append("teacher"))
    stage1.bare_passes(stage)()
    assert passes == ["student", "student", "teacher"] * 2
    copies = stage1.as_timm_would(stage)
    assert copies.network is not stage.network
    assert copies.teacher.network is not stage.teacher.network
    hook.remove()
    other.remove()
    for parameter, old in zip(stage.network.parameters(), before, strict=True):
        assert parameter.grad is not None
        assert torch.equal(parameter, old)


def test_the_resident_batch_is_seen_in_every_step() -> None:
    stage = stage1.stage_of("ce", stage1.QUICK[0], 3, "cpu")
    seen = []
    stage.views = lambda batch, epoch: (
        seen.append(batch.index.tolist()) or Supervised.views(stage, batch, epoch)
    )
    stage1.resident_batch(stage)()
    assert len(seen) == 3
    assert seen[0] == seen[1] == seen[2]
    stage.run_epoch(0)
    assert len({tuple(index) for index in seen[3:]}) == 3


def test_a_gpu_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert command.main(["--device", "cuda"]) == 2
    assert capsys.readouterr().err == "--device cuda: no GPU is available here\n"
    with pytest.raises(SystemExit):
        command.main(["--runs", "0"])
