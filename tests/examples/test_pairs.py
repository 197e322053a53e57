from __future__ import annotations


def lines(example, capsys, *arguments):
    example("pairs").main([*arguments])
    return capsys.readouterr().out.splitlines()


def test_pairs_follow_the_rule_and_the_seed(example, capsys):
    first = lines(example, capsys, "reverse", "--rows", "300", "--shortest", "3", "--longest", "6")
    assert first[0] == "source\ttarget"
    rows = [line.split("\t") for line in first[1:]]
    assert len(rows) == 300
    assert all(target == source[::-1] for source, target in rows)
    assert {len(source) for source, _ in rows} == {3, 4, 5, 6}
    assert len(set("".join(source for source, _ in rows))) == 26
    assert lines(example, capsys, "reverse", "--rows", "300", "--shortest", "3", "--longest", "6") == first
    other = lines(example, capsys, "sort", "--rows", "300", "--seed", "1")
    assert all(list(target) == sorted(source) for source, target in (line.split("\t") for line in other[1:]))
