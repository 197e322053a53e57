"""The study of all cells: its tasks, equal parameters, what is run in which order, and what its tables say."""

from __future__ import annotations

import math

import pytest
import torch

from ostinato.training.runs_file import Run

TEXT = "the quick brown fox jumps over the lazy dog. " * 200


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


def test_the_sum_is_of_one_marked_number_in_each_half(load) -> None:
    x, target = load("which_tasks").adding(None).batch(torch.Generator().manual_seed(0))
    values, marks = x.unbind(-1)
    assert marks[:100].sum(0).eq(1).all()
    assert marks[100:].sum(0).eq(1).all()
    for row in range(x.shape[1]):
        assert values[marks[:, row] == 1, row].sum() == pytest.approx(target[row].item(), abs=1e-6)


def test_ten_symbols_are_asked_for_a_hundred_steps_later(load) -> None:
    x, target = load("which_tasks").copying(None).batch(torch.Generator().manual_seed(0))
    tokens = x.argmax(-1)
    assert tokens.shape == target.shape == (120, 16)
    assert (tokens[:10] > 0).all()
    assert (tokens[:10] == target[110:]).all()
    assert (target[:110] == 0).all()
    assert (tokens[109] == 9).all()
    assert tokens[10:109].sum() == 0 == tokens[110:].sum()


def test_characters_are_those_that_follow_and_the_parts_are_apart(load, text) -> None:
    problem = load("which_tasks").characters(text)
    x, target = problem.batch(torch.Generator().manual_seed(0))
    assert (x[1:] == target[:-1]).all()
    known = sorted(set(TEXT))
    held, after = problem.validation()
    spelt = "".join(known[n] for n in held[:, 0])
    part = len(TEXT) // 20
    assert spelt == TEXT[-2 * part :][: len(spelt)]
    assert "".join(known[n] for n in problem.test()[0][:, 0]) == TEXT[-part:][: len(spelt)]
    assert (held[1:] == after[:-1]).all()


def test_a_measure_is_perfect_on_perfect_answers(load, text) -> None:
    tasks = load("which_tasks")
    for name, make in tasks.PROBLEMS.items():
        problem = make(text)
        _, target = problem.test()
        perfect = target[:, None] if name == "adding" else 99.0 * torch.eye(problem.outputs)[target]
        assert problem.measure(perfect, target) == pytest.approx(100 if problem.more_is_better else 0, abs=1e-4)
        assert problem.more_is_better == (name == "digits")


def test_cells_have_a_width_at_which_they_are_as_large_as_the_lstm(load) -> None:
    runs = load("which_runs")
    problem = load("which_tasks").adding(None)
    wanted = runs.size_of("lstm", problem, problem.width)
    contestants = ["lstm", *list(runs.contestants())[::5]]
    sizes = {who: runs.size_of(who, problem, runs.width_for(who, problem)) for who in contestants}
    assert sizes["lstm"] == wanted
    assert {who: size for who, size in sizes.items() if abs(size / wanted - 1) > 0.08} == {}


def test_a_run_repeats_exactly_and_is_measured_on_rows_it_did_not_see(load) -> None:
    runs = load("which_runs")
    plan = runs.Plan("digits", "mgu", 1e-2, 0, 5, None, 60.0)
    first, second = runs.train(plan), runs.train(plan)
    assert first.figures == second.figures
    assert first.figures["test"] != first.figures["validation"]
    assert (first.run, first.steps, first.part) == ("digits mgu 0.01 0", 5, "test")
    assert runs.train(runs.Plan("digits", "mgu", 1e-2, 1, 5, None, 60.0)).figures != first.figures


def test_a_run_that_diverges_is_a_figure_too(load) -> None:
    runs = load("which_runs")
    run = runs.train(runs.Plan("adding", "rnn", 1e30, 0, 50, None, 60.0))
    assert math.isnan(run.figures["test"])
    assert run.steps < 50


def test_a_run_that_takes_too_long_is_stopped(load) -> None:
    runs = load("which_runs")
    assert runs.train(runs.Plan("digits", "rnn", 1e-3, 0, 10**9, None, 0.2)).steps < 10_000


def done(plan, validation: float, test: float) -> Run:
    figures = {"test": test, "validation": validation}
    return Run(plan.name, plan.who, 8, plan.rate, plan.seed, 99, plan.steps, 1.0, "test", plan.made_of, figures)


@pytest.fixture
def study(load, tmp_path):
    which = load("which_cell")
    arguments = which.arguments_of(["--cells", "lstm", "rnn", "--tasks", "adding", "--out", str(tmp_path / "which")])
    return which.Study(arguments)


def test_all_cells_come_once_before_any_comes_twice_and_the_rate_is_the_validation_parts(study) -> None:
    titles, orders = [], []
    for title, plans in study.phases():
        titles.append(title)
        orders.append([(plan.who, plan.rate, plan.seed) for plan in plans])
        for plan in plans:
            # By the validation part 0.01 is the LSTM's, 0.001 the RNN's; the test part says otherwise.
            favourite = {"lstm": 0.01, "rnn": 0.001}[plan.who]
            study.runs.append(done(plan, abs(math.log10(plan.rate / favourite)), plan.rate))
    assert orders[0] == [("lstm", 0.003, 0), ("rnn", 0.003, 0)]
    assert orders[1] == [("lstm", 0.001, 0), ("rnn", 0.001, 0), ("lstm", 0.01, 0), ("rnn", 0.01, 0)]
    assert orders[2] == [("lstm", 0.01, 1), ("rnn", 0.001, 1), ("lstm", 0.01, 2), ("rnn", 0.001, 2)]
    assert all(study.found(plan) for _, plans in study.phases() for plan in plans)
    other = study.plan("adding", "lstm", 0.01, 3)
    assert study.found(other) is None


def full(study) -> None:
    for _, plans in study.phases():
        for plan in plans:
            better = 0.01 if plan.who == "lstm" else 0.02
            figure = better + abs(math.log10(plan.rate / 0.01)) + 0.001 * plan.seed
            study.runs.append(done(plan, figure, figure))


def test_the_tables_say_what_the_runs_say(study) -> None:
    full(study)
    content = study.content([])
    overview = content.overview()
    assert [row[0] for row in overview.rows] == ["lstm", "rnn"]
    assert overview.rows[0][2:] == ("0.011 ± 0.001",)
    (table,) = content.tasks()
    assert [row[0] for row in table.rows] == ["lstm", "rnn"]
    assert table.rows[1][5:8] == ("0.021 ± 0.001", "0.02, 0.021, 0.022", "0.01 ± 0")
    claims = content.claims().rows
    assert [row[-1] for row in claims] == ["3 of 3 seeds"]


def test_what_is_not_done_yet_is_marked(study) -> None:
    study.runs.append(done(study.plan("adding", "lstm", 0.003, 0), 0.1, 0.1))
    assert study.content([]).overview().rows[0][2] == "0.1 †"


def test_runs_of_another_length_are_not_counted(study) -> None:
    full(study)
    study.scale = 0.5
    assert study.content([]).problems == {}


def test_the_page_keeps_its_text_and_gets_its_tables(study, load, tmp_path) -> None:
    pytest.importorskip("matplotlib")
    page = load("which_page")
    full(study)
    docs = tmp_path / "docs"
    (docs / "images").mkdir(parents=True)
    path = docs / "which_cell.md"
    path.write_text(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n")
    machine = load("timing").Machine("A", 2, "", {}, 2, "", None, None)
    for _ in range(2):
        page.write(study.content([]), machine, docs)
        text = path.read_text()
        assert text.startswith("before\n")
        assert text.endswith("after\n")
        assert text.count(page.BEGIN) == text.count(page.END) == text.count("| lstm | 1997 |") == 1
        assert "old" not in text
    assert [picture.name for picture in (docs / "images").iterdir()] == ["which_cell_adding.png"]


def test_a_command_goes_on_where_it_stopped(load, tmp_path, monkeypatch, capsys) -> None:
    which = load("which_cell")
    arguments = ["which_cell.py", "--cells", "lstm", "--tasks", "digits", "--steps-scale", "0.001", "--no-speed"]
    monkeypatch.setattr("sys.argv", [*arguments, "--workers", "1", "--out", str(tmp_path / "which")])
    threads = torch.get_num_threads()
    try:
        assert which.main() == 0
        assert capsys.readouterr().out.count("% right, ") == 5
        assert which.main() == 0
        assert "0 of 2 runs to do" in capsys.readouterr().out
    finally:
        torch.set_num_threads(threads)
    assert len((tmp_path / "which_runs.csv").read_text().splitlines()) == 6
