"""Tokenizers of the library `tokenizers`, from tokenizer.json or from the files that came before it.

What is built here has the same tokens for every text as transformers' classes of the same files.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from converters.errors import CheckpointError
from converters.io import decode_json
from zoo._errors import ZooError, needs
from zoo._loading.companions import TOKENIZER
from zoo._loading.text_settings import (
    SPECIAL_TOKENS,
    TOKENIZER_CONFIG,
    VOCABULARIES,
    tokenizer_class,
)
from zoo._preprocessing.sentencepiece import Pieces, read_pieces

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Read: TypeAlias = Callable[[str], bytes | None]  # a file's content; None where there is no such file

WORDS, PAIRS, MERGES, SENTENCEPIECE = VOCABULARIES
FOREIGN = ("spiece.model", "spm.model", "tokenizer.model")  # of families that the zoo does not have
PAIR = "source.spm"  # of Marian
FILES = (TOKENIZER, WORDS, f"{PAIRS} and {MERGES}", SENTENCEPIECE)
OPTIONS = (TOKENIZER_CONFIG, *SPECIAL_TOKENS)  # fields of Options
# Options of tokenizer_config.json -> those of the library's normalizer of BERT.
NORMALIZER = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
FLAGS = ("special", "lstrip", "rstrip", "single_word", "normalized")
# Special tokens of each kind of vocabulary, where no file names others.
BERT = {"unk": "[UNK]", "sep": "[SEP]", "pad": "[PAD]", "cls": "[CLS]", "mask": "[MASK]"}
ROBERTA = {
    "bos": "<s>",
    "eos": "</s>",
    "unk": "<unk>",
    "sep": "</s>",
    "pad": "<pad>",
    "cls": "<s>",
    "mask": "<mask>",
}
CLIP = {"bos": "<|startoftext|>", "eos": "<|endoftext|>", "unk": "<|endoftext|>", "pad": "<|endoftext|>"}
# Words of CLIP's tokenizer: special tokens, endings after an apostrophe, letters, a digit, anything else.
CLIP_WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
GPT2 = {"bos": "<|endoftext|>", "eos": "<|endoftext|>", "unk": "<|endoftext|>"}


class Options(NamedTuple):
    """Contents of tokenizer_config.json, special_tokens_map.json and added_tokens.json."""

    config: Mapping[str, Any]
    special: Mapping[str, Any]
    added: Mapping[str, int]

    def special_tokens(self, defaults: Mapping[str, str]) -> dict[str, Any]:
        """Returns the special tokens by their roles, such as `cls`: texts, or mappings with flags."""
        said = {role: self.config.get(f"{role}_token") or self.special.get(f"{role}_token") for role in ROLES}
        return {**defaults, **{role: token for role, token in said.items() if token}}

    def more_tokens(self) -> Iterator[tuple[int | None, Any]]:
        """Yields the tokens besides the vocabulary and the special ones, with ids where files say them."""
        decoder = self.config.get("added_tokens_decoder") or {}
        yield from ((int(index), decoder[index]) for index in sorted(decoder, key=int))
        yield from ((self.added[token], token) for token in sorted(self.added, key=self.added.__getitem__))
        for options in (self.config, self.special):
            more = options.get("extra_special_tokens") or options.get("additional_special_tokens") or ()
            yield from ((None, token) for token in (more.values() if isinstance(more, Mapping) else more))


def tokenizer_from(name: str, read: Read) -> "Tokenizer":
    """Returns a model's tokenizer; it neither pads nor truncates.

    Args:
        name: Name of the model, for messages.
        read: Gives the files beside its weights.

    Raises:
        ZooError: the library is not installed, there is no file of tokens, or one cannot be read.
    """
    try:
        import tokenizers
    except ImportError as error:
        raise ZooError(needs("texts", "tokenizers")) from error
    content = read(TOKENIZER)
    try:
        if content is not None:
            made = tokenizers.Tokenizer.from_str(content.decode())
            _normalize(made, _json(name, TOKENIZER_CONFIG, read))
        else:
            made = _built(name, read, Options(*(_json(name, file, read) for file in OPTIONS)))
    except ZooError:
        raise
    except Exception as error:  # the library raises no narrower one
        raise ZooError(f"the tokenizer of {name!r} cannot be read: {error}") from error
    made.no_padding()
    made.no_truncation()
    return made


def _json(name: str, file: str, read: Read) -> Mapping[str, Any]:
    content = read(file)
    try:
        found = {} if content is None else decode_json(content, "is not JSON")
    except CheckpointError as error:
        raise ZooError(f"{name}: {file} {error}.") from error
    return found if isinstance(found, Mapping) else {}


def _normalize(made: "Tokenizer", config: Mapping[str, Any]) -> None:
    """Gives BERT's normalizer the options that tokenizer_config.json has: transformers prefers these."""
    from tokenizers.normalizers import BertNormalizer

    if isinstance(made.normalizer, BertNormalizer):
        for option, field in NORMALIZER.items():
            if option in config and getattr(made.normalizer, field) != config[option]:
                setattr(made.normalizer, field, config[option])


def _built(name: str, read: Read, options: Options) -> "Tokenizer":
    words, pairs, merges = read(WORDS), read(PAIRS), read(MERGES)
    if words is not None:
        return _wordpiece(words, options)
    if pairs is not None and merges is not None:
        vocabulary = decode_json(pairs, f"{PAIRS} is not JSON")
        return (_clip if CLIP["bos"] in vocabulary else _bytelevel)(vocabulary, merges, options)
    sentencepiece = read(SENTENCEPIECE)
    if sentencepiece is not None:
        kind = tokenizer_class(name, options.config, read)
        if kind.lower().startswith("mbart"):  # whose texts have a language, too
            raise _foreign(name, SENTENCEPIECE)
        return _unigram(read_pieces(sentencepiece), options, camembert=kind.lower().startswith("camembert"))
    for file in FOREIGN:
        if read(file) is not None:
            raise _foreign(name, file)
    if read(PAIR) is not None:
        raise ZooError(
            f"{name!r} has its tokens in {PAIR} and another file for what it writes, a pair that the zoo "
            "does not read; give it the token ids that transformers' MarianTokenizer makes."
        )
    raise ZooError(f"{name!r} has no {' or '.join(FILES)} beside its weights; give it token ids.")


def _foreign(name: str, file: str) -> ZooError:
    return ZooError(
        f"{name!r} has its tokens in {file}, which takes the library sentencepiece; make {TOKENIZER} "
        'of it once: python -c "import transformers; transformers.AutoTokenizer.from_pretrained('
        "'DIRECTORY').save_pretrained('DIRECTORY')\"."
    )


def _wordpiece(content: bytes, options: Options) -> "Tokenizer":
    """Returns the tokenizer of a vocab.txt: BERT's and DistilBERT's."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    # Not by splitlines: some of the tokens are other ends of lines.
    lines = content.decode().removesuffix("\n").split("\n")
    vocabulary = {token.removesuffix("\r"): index for index, token in enumerate(lines)}
    special = options.special_tokens(BERT)
    config = options.config
    made = Tokenizer(models.WordPiece(vocabulary, unk_token=_content(special["unk"])))
    made.normalizer = normalizers.BertNormalizer(
        lowercase=config.get("do_lower_case", True),
        strip_accents=config.get("strip_accents"),
        handle_chinese_chars=config.get("tokenize_chinese_chars", True),
    )
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    _add(made, special, options)
    first, last = _content(special["cls"]), _content(special["sep"])
    made.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}",
        pair=f"{first} $A {last} $B:1 {last}:1",
        special_tokens=[(token, made.token_to_id(token)) for token in (first, last)],
    )
    return made


def _bytelevel(vocabulary: Mapping[str, int], merges: bytes, options: Options) -> "Tokenizer":
    """Returns the tokenizer of a vocab.json and merges.txt: GPT-2's, or RoBERTa's if it has `<s>`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    made = Tokenizer(models.BPE(dict(vocabulary), _merges(merges)))
    spaced = bool(options.config.get("add_prefix_space", False))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=spaced)
    made.decoder = decoders.ByteLevel()
    special = options.special_tokens(ROBERTA if "<s>" in vocabulary else GPT2)
    _add(made, special, options)
    if "cls" in special and "sep" in special:
        last, first = (
            (text, made.token_to_id(text) or 0) for text in map(_content, (special["sep"], special["cls"]))
        )
        made.post_processor = processors.RobertaProcessing(last, first, add_prefix_space=spaced)
    else:
        made.post_processor = processors.ByteLevel(trim_offsets=False)
    return made


def _merges(content: bytes) -> list[tuple[str, str]]:
    """Returns the pairs of a merges.txt."""
    lines = [
        line for line in content.decode().split("\n") if line.strip() and not line.startswith("#version")
    ]
    return [(first, second) for first, _, second in (line.partition(" ") for line in lines)]


def _clip(vocabulary: Mapping[str, int], merges: bytes, options: Options) -> "Tokenizer":
    """Returns the tokenizer of a vocab.json and merges.txt of CLIP, whose words end in `</w>`."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    special = options.special_tokens(CLIP)
    model = models.BPE(
        dict(vocabulary),
        _merges(merges),
        continuing_subword_prefix="",
        end_of_word_suffix="</w>",
        fuse_unk=False,
        unk_token=_content(special["unk"]),
    )
    made = Tokenizer(model)
    made.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(CLIP_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    _add(made, special, options)
    last, first = (
        (text, made.token_to_id(text) or 0) for text in map(_content, (special["eos"], special["bos"]))
    )
    made.post_processor = processors.RobertaProcessing(
        last, first, trim_offsets=False, add_prefix_space=False
    )
    return made


def _unigram(pieces: Pieces, options: Options, *, camembert: bool) -> "Tokenizer":
    """Returns the tokenizer of a sentencepiece.bpe.model: XLM-RoBERTa's or CamemBERT's.

    Both give the special tokens ids that fairseq had for them, before the model's own.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    special = options.special_tokens(ROBERTA)
    first, pad, last, unknown, mask = (
        _content(special[role]) for role in ("bos", "pad", "eos", "unk", "mask")
    )
    if camembert:
        before = [
            ("<s>NOTUSED", 0.0),
            (pad, 0.0),
            ("</s>NOTUSED", 0.0),
            (unknown, 0.0),
            ("<unk>NOTUSED", -100.0),
        ]
        after = pieces.scores[1:]
    else:
        before = [(first, 0.0), (pad, 0.0), (last, 0.0), (unknown, 0.0)]
        after = pieces.scores[3:]
    made = Tokenizer(models.Unigram([*before, *after, (mask, 0.0)], unk_id=3, byte_fallback=False))
    if pieces.charsmap:
        made.normalizer = normalizers.Precompiled(pieces.charsmap)
    spaced = "always" if options.config.get("add_prefix_space", True) else "never"
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme=spaced)]
    )
    made.decoder = decoders.Metaspace(prepend_scheme=spaced)
    _add(made, special, options)
    made.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}",
        pair=f"{first} $A {last} {last} $B {last}",
        special_tokens=[(token, made.token_to_id(token)) for token in (first, last)],
    )
    return made


def _add(made: "Tokenizer", special: Mapping[str, Any], options: Options) -> None:
    """Adds the special tokens and all others that are no pieces of words.

    Raises:
        ZooError: one has another id than its file says.
    """
    from tokenizers import AddedToken

    names, known = {_content(token) for token in special.values()}, set[str]()
    for index, token in (*options.more_tokens(), *((None, token) for token in special.values())):
        text = _content(token)
        if text not in known:
            said = {key: token[key] for key in FLAGS if key in token} if isinstance(token, Mapping) else {}
            made.add_tokens([AddedToken(text, **{"special": text in names or index is None, **said})])
        if index not in (None, made.token_to_id(text)):
            raise ZooError(
                f"the token {text!r} has id {index} by its file, and {made.token_to_id(text)} here."
            )
        known.add(text)


def _content(token: Any) -> str:
    return str(token["content"]) if isinstance(token, Mapping) else str(token)
