"""The folder of a run: the model folder, and beside it what is needed to go on and to look back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ostinato.errors import ModelFolderError
from ostinato.models.ensemble import MOST
from ostinato.models.files import remove_leftovers, write_text
from ostinato.models.folder import CONFIG, WEIGHTS

RUN_FORMAT = "ostinato.run"


@dataclass(frozen=True)
class RunFolder:
    """The files of a run and their names."""

    path: Path

    @property
    def checkpoint(self) -> Path:
        """Where a resumed run begins."""
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def run(self) -> Path:
        """The task, the files and the settings."""
        return self.path / "run.json"

    @property
    def metrics(self) -> Path:
        """Every validation, as a table."""
        return self.path / "metrics.csv"

    @property
    def curve(self) -> Path:
        """The learning curve, as a picture."""
        return self.path / "learning_curve.png"

    @property
    def trials(self) -> Path:
        """The trials of a search for settings, which came before the run."""
        return self.path / "tune.csv"

    @property
    def files(self) -> list[Path]:
        """All that a run writes."""
        return [self.path / WEIGHTS, self.path / CONFIG, self.checkpoint, self.metrics, self.curve, self.run]

    def member(self, number: int) -> RunFolder:
        """The folder of an ensemble's member, from 1."""
        return RunFolder(self.path / str(number))

    def is_ours(self) -> bool:
        """Whether a run has begun here."""
        try:
            self._note()
        except ModelFolderError:
            return False
        return True

    def check(self, overwrite: bool, files: Sequence[Path]) -> None:
        """Whether a run may begin here; the files that are learnt from may lie in the folder, and a search's trials.

        Raises:
            ModelFolderError: something is there, and it is no run's folder or ``overwrite`` is not given.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ModelFolderError(f"{self.path} is a file, and a folder is needed; name another with --out")
        if self.path.is_dir() and self._strangers(files):
            if not self.is_ours():
                raise ModelFolderError(
                    f"{self.path} is not empty and not a folder of `ostinato train`, so it is left alone; "
                    f"name another with --out"
                )
            if not overwrite:
                raise ModelFolderError(
                    f"{self.path} holds a run already; go on with it (--resume), replace it (--overwrite), "
                    f"or name another folder with --out"
                )

    def prepare(self, overwrite: bool, files: Sequence[Path]) -> None:
        """Makes the folder, empty of any run.

        Raises:
            ModelFolderError: as :meth:`check` does.
        """
        self.check(overwrite, files)
        self.clear()
        self.path.mkdir(parents=True, exist_ok=True)
        self.clean()

    def _strangers(self, files: Sequence[Path]) -> bool:
        expected = {file.resolve() for file in (*files, self.trials)}
        return any(path.resolve() not in expected for path in self.path.iterdir())

    def clear(self) -> None:
        """Removes what runs wrote here, and nothing else."""
        for number in range(1, MOST + 1):
            member = self.member(number)
            if member.is_ours():
                member.clear()
                member.clean()
                for folder in (member.checkpoint.parent, member.path):
                    if folder.is_dir() and not any(folder.iterdir()):
                        folder.rmdir()
        for file in self.files:
            file.unlink(missing_ok=True)

    def clean(self) -> None:
        """Removes half-written files of a run that was killed."""
        for file in self.files:
            remove_leftovers(file)

    def write_run(self, note: dict[str, Any]) -> None:
        """Notes what the run depends on: ``task``, ``files``, ``fingerprint``, ``settings``."""
        write_text(self.run, json.dumps({"format": RUN_FORMAT, **note}, indent=2, ensure_ascii=False) + "\n")

    def read_run(self) -> dict[str, Any]:
        """What ``write_run`` noted.

        Raises:
            ModelFolderError: no run has begun here, or the note is damaged.
        """
        content = self._note()
        kinds = {"task": str, "files": list, "fingerprint": str, "settings": dict}
        for name, kind in kinds.items():
            if not isinstance(content.get(name), kind):
                raise ModelFolderError(f"{self.run} is damaged: {name} is missing; begin anew with --overwrite")
        return content

    def _note(self) -> dict[str, Any]:
        if not self.run.is_file():
            raise ModelFolderError(f"there is no run to go on with in {self.path}; begin one without --resume")
        try:
            content = json.loads(self.run.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise ModelFolderError(f"{self.run} is damaged ({error}); begin anew with --overwrite") from error
        if not isinstance(content, dict) or content.get("format") != RUN_FORMAT:
            raise ModelFolderError(f"{self.run} is not a run of Ostinato")
        return content
