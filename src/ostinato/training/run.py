"""A training run from a text file to a model folder: START HERE to see how the parts are put together."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ostinato.cells.cell import Cell
from ostinato.errors import DataError, InvalidValue, ModelFolderError, OstinatoError
from ostinato.models.cell_names import BUILT_IN, cell_named
from ostinato.models.evaluation import Evaluation
from ostinato.models.folder import save
from ostinato.models.language_model import LanguageModel, LanguageModelSize
from ostinato.models.needs import need
from ostinato.tasks.language_modelling.batches import Batches, batches_per_epoch
from ostinato.tasks.language_modelling.corpus import Corpus, open_corpus
from ostinato.tasks.language_modelling.task import LanguageModelling
from ostinato.training.checkpoint import SafeCheckpointIO, read_checkpoint
from ostinato.training.curve import draw_curve
from ostinato.training.interrupt import on_interrupt
from ostinato.training.keeper import Keeper, figures, patience_lost, used_up
from ostinato.training.learner import Learner
from ostinato.training.progress import Progress, console, duration
from ostinato.training.quiet import quiet_lightning
from ostinato.training.run_folder import RunFolder
from ostinato.training.settings import DEFAULT_STEPS, Settings

ENDLESS = 1 << 40
"""Batches, as Lightning sees them: the keeper ends a run, so that no checkpoint says that it cannot be prolonged."""


@dataclass(frozen=True)
class TrainingResult:
    """What a run leaves.

    Args:
        folder: the model folder; ``ostinato.load`` reads it.
        validation: of the best weights, which are those in the folder; None if the run was interrupted before any.
        step: steps done in all.
        best_step: after which the best weights were found.
        seconds: of training in all.
        stopped_because: in words.
        interrupted: whether by Ctrl-C, so that ``resume`` goes on.
        curve: the picture of the learning curve, when there is one.
        cell: the class of the cell.
    """

    folder: Path
    validation: Evaluation | None
    step: int
    best_step: int
    seconds: float
    stopped_because: str
    interrupted: bool
    curve: Path | None
    cell: type[Cell]


def train(
    file: str | Path | None = None,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
    settings: Settings | None = None,
    on_begin: Callable[[Path], None] | None = None,
    **changes: Any,
) -> TrainingResult:
    """Trains a language model on a text file, and leaves a model folder.

    Args:
        file: the text. On resuming it may be left out.
        out: the folder; ``ostinato-NAME`` in the current directory unless said otherwise.
        resume: go on with the run in ``out``, under its own settings; a run killed at any moment ends with exactly the
            weights it would have had. ``steps``, ``epochs``, ``time_budget``, ``patience`` and ``learning_rate``
            may change; a ``cell`` of your own must be named again.
        overwrite: replace the run that is in ``out``.
        quiet: say nothing.
        settings: to begin from, instead of the defaults.
        on_begin: called with the model folder before the first step, when the model in it has learnt nothing.
        changes: single settings by name, the fields of :class:`~ostinato.training.settings.Settings`.

    Raises:
        DataError: the file cannot be learnt from.
        ModelFolderError: ``out`` holds something already, or no run to resume.
        InvalidValue, InvalidType: a setting outside its rule.
        TrainingError: training could not go on; the last good checkpoint is kept.

    Example:
        >>> result = ostinato.train("tales.txt", time_budget="2m")              # doctest: +SKIP
        >>> print(ostinato.load(result.folder).sample("Once upon", 200))        # doctest: +SKIP
    """
    folder = RunFolder(_out(file, out))
    with torch.random.fork_rng():
        if resume:
            if overwrite:
                raise InvalidValue(
                    "resume and overwrite exclude each other: the one goes on with what the other removes"
                )
            run = _resumed(folder, file, changes, quiet)
        else:
            chosen = (settings or Settings()).replaced(changes)
            run = _begun(folder, file, chosen, overwrite, quiet)
        if on_begin is not None:
            on_begin(folder.path)
        return run.go()


def _out(file: str | Path | None, out: str | Path | None) -> Path:
    if out is not None:
        return Path(out)
    if file is None:
        raise InvalidValue("a text file is needed, or with --resume the folder of the run: --out FOLDER")
    return Path(f"ostinato-{Path(file).stem}")


def _begun(folder: RunFolder, file: str | Path | None, settings: Settings, overwrite: bool, quiet: bool) -> _Run:
    if file is None:
        raise InvalidValue("a text file is needed: ostinato train FILE")
    settings = settings.replaced({"cell": cell_named(settings.cell)})
    corpus = open_corpus(Path(file), settings.tokens, settings.validation_fraction, settings.sequence_length)
    # Whatever can be wrong with the settings shows here, before a run that is to be replaced is touched.
    run = _Run(folder, corpus, settings, quiet)
    folder.prepare(overwrite, corpus.path)
    # A folder that is killed before its first validation is a model all the same: one that has learnt nothing.
    save(run.learner.task.finished(figures(run.learner, None)), folder.path)
    folder.write_run(corpus.path, corpus.fingerprint, dataclasses.asdict(settings))
    return run


def _resumed(folder: RunFolder, file: str | Path | None, changes: dict[str, Any], quiet: bool) -> _Run:
    noted = folder.read_run()
    resumable = {one.name for one in dataclasses.fields(Settings) if one.metadata["resumable"]}
    stored = Settings().replaced(noted["settings"])
    settings = stored.replaced(changes)
    if stored.cell not in BUILT_IN and "cell" not in changes:
        raise ModelFolderError(
            f"{folder.path} was begun with a cell of its user's own, {stored.cell}, and a folder's word is never "
            f"enough to import code. If you trust that code, give it: --cell {stored.cell}"
        )
    if fixed := sorted(name for name in changes if name not in resumable and _differs(stored, settings, name)):
        raise InvalidValue(
            f"a resumed run keeps its settings; only {', '.join(sorted(resumable))} may change, got {', '.join(fixed)}"
        )
    path = Path(file) if file is not None else Path(noted["text"])
    corpus = open_corpus(path, settings.tokens, settings.validation_fraction, settings.sequence_length)
    if corpus.fingerprint != noted["fingerprint"]:
        raise DataError(f"{path} is not the text this run began with; name that one, or begin anew with --overwrite")
    folder.clean()
    folder.write_run(corpus.path, corpus.fingerprint, dataclasses.asdict(settings))
    return _Run(folder, corpus, settings, quiet)


def _differs(stored: Settings, settings: Settings, name: str) -> bool:
    return bool(getattr(stored, name) != getattr(settings, name))


def total_steps(settings: Settings, tokens: int) -> int | None:
    """Where the run ends by steps: the fewest that a setting asks for; None if only the time ends it."""
    if settings.steps is None and settings.epochs is None:
        return None if settings.time_budget is not None else DEFAULT_STEPS
    limits = [] if settings.steps is None else [settings.steps]
    if settings.epochs is not None:
        limits.append(
            math.ceil(settings.epochs * batches_per_epoch(tokens, settings.batch_size, settings.sequence_length))
        )
    return min(limits)


class _Run:
    """A run that is ready to go: the model, its text, and where it stands."""

    def __init__(self, folder: RunFolder, corpus: Corpus, settings: Settings, quiet: bool) -> None:
        self.folder, self.corpus, self.settings = folder, corpus, settings
        self.out = console()
        self.out.quiet = quiet
        torch.manual_seed(settings.seed)
        network = _network(settings, corpus.vocabulary.size)
        self.accelerator = _accelerator(settings.device)
        task = LanguageModelling(network, corpus, settings.validation_limit)
        self.learner = Learner(task, settings, total_steps(settings, len(corpus.training)))

    def go(self) -> TrainingResult:
        """Trains to the end, from the checkpoint if there is one."""
        self._introduce()
        keeper = Keeper(self.folder)
        step = 0
        checkpoint = self.folder.checkpoint if self.folder.checkpoint.is_file() else None
        if checkpoint is not None:
            content = read_checkpoint(checkpoint)
            step = int(content["global_step"])
            self.learner.on_load_checkpoint(content)
        finished = used_up(self.learner, step) or patience_lost(self.learner)
        if finished:
            keeper.reason = finished
        else:
            if step:
                self.out.print(f"Going on from step {step:,}.")
            step = self._fit(keeper, checkpoint)
        return self._result(keeper, step)

    def _fit(self, keeper: Keeper, checkpoint: Path | None) -> int:
        settings, learner = self.settings, self.learner
        batches = Batches(self.corpus, settings.batch_size, settings.sequence_length, settings.seed, ENDLESS)
        with quiet_lightning():
            trainer = need("lightning.pytorch").Trainer(
                accelerator=self.accelerator,
                devices=1,
                max_epochs=1,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                use_distributed_sampler=False,
                num_sanity_val_steps=0,
                limit_val_batches=0,
                plugins=[SafeCheckpointIO()],
                callbacks=[keeper, Progress(self.out)],
                default_root_dir=self.folder.path,
            )

            def wish() -> None:
                keeper.interrupted = True
                self.out.print("Stopping after this step; Ctrl-C again to stop at once.")

            with on_interrupt(wish):
                trainer.fit(learner, train_dataloaders=batches, ckpt_path=checkpoint, weights_only=True)
        return int(trainer.global_step)

    def _introduce(self) -> None:
        corpus, settings = self.corpus, self.settings
        unit, whole = corpus.vocabulary.unit, len(corpus.validation)
        parameters = sum(parameter.numel() for parameter in self.learner.network.parameters())
        self.out.print(
            f"{corpus.path.name}: {len(corpus.training):,} {unit}s to learn from, {whole:,} to check with; "
            f"{corpus.vocabulary.size} tokens. Model: {settings.cell}, {parameters:,} parameters."
        )
        if whole > settings.validation_limit:
            self.out.print(f"Validation reads the first {settings.validation_limit:,} of the {whole:,} {unit}s.")
        if strangers := corpus.unknown_in_validation():
            self.out.print(
                f"{strangers:,} {unit}s of the validation part do not occur in the training part; "
                f"they count as unknown, and as badly predicted."
            )

    def _result(self, keeper: Keeper, step: int) -> TrainingResult:
        record, unit = self.learner.record, self.corpus.vocabulary.unit
        curve, validation = None, None
        if record.points:
            tokens = self.learner.task.validation_tokens
            unknown = self.corpus.vocabulary.unknown
            strangers = 0 if unknown is None else int((tokens == unknown).sum())
            validation = Evaluation(record.best, len(tokens), strangers, unit)
            curve = self.folder.curve
            draw_curve(
                record, unit, f"{self.corpus.path.name}, {self.settings.cell} {self.settings.hidden_size}", curve
            )
        self.out.print(f"Stopped at step {step:,} after {duration(record.elapsed)} of training: {keeper.reason}.")
        return TrainingResult(
            self.folder.path,
            validation,
            step,
            record.best_step,
            record.elapsed,
            keeper.reason,
            keeper.interrupted,
            curve,
            self.learner.network.cell_type,
        )


def _network(settings: Settings, vocabulary_size: int) -> LanguageModel:
    """The untrained model, once its cells have gone forward and back: a cell that fails does so before it costs a file.

    Raises:
        InvalidValue: the cell's own code fails.
        OstinatoError: the cell breaks its contract.
    """
    size = LanguageModelSize(
        vocabulary_size=vocabulary_size,
        hidden_size=settings.hidden_size,
        num_layers=settings.num_layers,
        input=settings.input,
        embedding_size=settings.embedding_size,
        dropout=settings.dropout,
    )
    try:
        network = LanguageModel(size, cell_named(settings.cell))
        with torch.random.fork_rng(devices=[]):
            # On a copy, so that nothing a cell computes on the way can be felt by the run.
            output, _ = copy.deepcopy(network.stack)(torch.zeros(2, 2, network.stack.input_size))
            output.sum().backward()
    except OstinatoError:
        raise
    except Exception as error:
        raise InvalidValue(
            f"a model of the cell {settings.cell} does not work with these settings: {type(error).__name__}: {error}; "
            f"--debug shows where"
        ) from error
    return network


def _accelerator(device: str) -> str:
    if device == "cuda" and not torch.cuda.is_available():
        raise InvalidValue("device is cuda, and torch finds no CUDA GPU here; use --device cpu")
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device
