"""The folder of a run: the model folder, and beside it what is needed to go on and to look back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ostinato.errors import ModelFolderError
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
        """The text's path and the settings."""
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
    def files(self) -> list[Path]:
        """All that a run writes."""
        return [self.path / WEIGHTS, self.path / CONFIG, self.checkpoint, self.metrics, self.curve, self.run]

    def is_ours(self) -> bool:
        """Whether a run has begun here."""
        try:
            self.read_run()
        except ModelFolderError:
            return False
        return True

    def prepare(self, overwrite: bool, text: Path) -> None:
        """Makes the folder, empty of any run; the text that is learnt from may lie in it.

        Raises:
            ModelFolderError: something is there, and it is no run's folder or ``overwrite`` is not given.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ModelFolderError(f"{self.path} is a file, and a folder is needed; name another with --out")
        if self.path.is_dir() and any(path.resolve() != text.resolve() for path in self.path.iterdir()):
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
        for file in self.files:
            file.unlink(missing_ok=True)
        self.path.mkdir(parents=True, exist_ok=True)
        self.clean()

    def clean(self) -> None:
        """Removes half-written files of a run that was killed."""
        for file in self.files:
            remove_leftovers(file)

    def write_run(self, corpus: Path, fingerprint: str, settings: dict[str, Any]) -> None:
        """Notes what the run depends on."""
        content = {"format": RUN_FORMAT, "text": str(corpus), "fingerprint": fingerprint, "settings": settings}
        write_text(self.run, json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    def read_run(self) -> dict[str, Any]:
        """What ``write_run`` noted.

        Raises:
            ModelFolderError: no run has begun here, or the note is damaged.
        """
        if not self.run.is_file():
            raise ModelFolderError(f"there is no run to go on with in {self.path}; begin one without --resume")
        try:
            content = json.loads(self.run.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise ModelFolderError(f"{self.run} is damaged ({error}); begin anew with --overwrite") from error
        kinds = {"text": str, "fingerprint": str, "settings": dict}
        if not isinstance(content, dict) or content.get("format") != RUN_FORMAT:
            raise ModelFolderError(f"{self.run} is not a run of Ostinato")
        for name, kind in kinds.items():
            if not isinstance(content.get(name), kind):
                raise ModelFolderError(f"{self.run} is damaged: {name} is missing; begin anew with --overwrite")
        return content
