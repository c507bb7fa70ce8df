"""Decoding beside CTranslate2 and transformers, in one run, on a CPU.

    python benchmarks/decode.py [--rounds 5] [--case gpt|pair] [--out FILE.md]

`pair`: an encoder-decoder of 6 and 6 layers, d_model 512, a vocabulary of 8,000, random weights, 16
source tokens, exactly 32 tokens out. `gpt`: GPT-2 of 124 M, a prompt of 16 tokens, 64 new ones. The
peers take turns, each in a process of its own; each is tried with one thread and with two,
CTranslate2 also with two workers, and has its best. Numbers are tokens a second, medians of rounds
of three.
"""

from __future__ import annotations

import argparse
import copy
import multiprocessing
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from sublayer.generation.decoding import FromPrompt, FromSource
from sublayer.generation.generate import search
from sublayer.generation.hypothesis import SearchOptions
from sublayer.generation.stopping import Stops
from sublayer.models.base import configure
from sublayer.models.ctranslate2 import export
from sublayer.models.hub import load_network, network_tensors, write_config, write_tensors
from sublayer.surgery.pack import packed
from sublayer.surgery.quantize import (
    is_quantized,
    load_quantized,
    quantize,
    write_quantization,
)
from sublayer.training.allocator import keep_freed_memory

SOURCE, TARGET, VOCAB = 16, 32, 8000
PROMPT, NEW, GPT_VOCAB = 16, 64, 50257
CASES = [(1, 1), (1, 5), (32, 1), (32, 5)]  # batch, beam
NEVER = Stops((), (0, 1, 2))
FOLDER = object()
"""Stands for the folder of CTranslate2's model, with folders of ours in it."""
KINDS = {"pair": ("int8", "bfloat16"), "gpt": ("int8", "int8-weights", "int4", "bfloat16")}
"""Of ours, in each case: those that may win there."""
Run = Callable[[int, int], object]
"""Batch and beam: decodes."""


def write(family: str, size: str, vocab_size: int, kinds: Sequence[str], folder: Path) -> nn.Module:
    """A network of ours, in a folder for each kind; it comes back in floats."""
    torch.manual_seed(0)
    config = configure(family, size, vocab_size=vocab_size)
    network = config.build().eval()
    for kind in kinds:
        own = folder / kind
        own.mkdir()
        write_config(config, family, own)
        if kind == "bfloat16":
            write_tensors(network_tensors(network), own / "model.safetensors")
        else:
            smaller = quantize(copy.deepcopy(network), kind)  # type: ignore[arg-type]
            write_tensors(network_tensors(smaller), own / "model.safetensors")
            write_quantization(kind, own)  # type: ignore[arg-type]
    return network


def prepared(folder: Path) -> Any:
    """The network of a folder as `predict` has it, but for its tokenizer."""
    network = load_quantized(folder) if is_quantized(folder) else load_network(folder)
    return packed(network, torch.bfloat16)


def ours(folder: Path, kind: str, threads: int) -> Run:
    """Our encoder-decoder."""
    net = prepared(folder / kind)
    source = torch.randint(4, VOCAB, (32, SOURCE))

    @torch.inference_mode()
    def run(batch: int, beam: int) -> object:
        torch.set_num_threads(threads)
        memory = net.encode(source[:batch])
        options = SearchOptions(beam=beam, max_length=TARGET)
        decoding = FromSource(net, memory, None, 1)
        return search(decoding, [TARGET] * batch, options, NEVER)

    return run


def our_gpt(folder: Path, kind: str, threads: int) -> Run:
    """Our GPT-2."""
    net = prepared(folder / kind)
    prompt = torch.randint(4, GPT_VOCAB, (PROMPT,)).tolist()

    @torch.inference_mode()
    def run(batch: int, beam: int) -> object:
        torch.set_num_threads(threads)
        decoding = FromPrompt(net, [prompt] * batch)
        return search(decoding, [NEW] * batch, SearchOptions(beam=beam, max_length=NEW), NEVER)

    return run


def words(ids: Tensor) -> list[list[str]]:
    """Ids as CTranslate2 wants them."""
    return [[f"t{i}" for i in row] for row in ids.tolist()]


def ctranslate2(folder: Path, threads: int, workers: int = 1) -> Run:
    """CTranslate2 in eight bits."""
    from ctranslate2 import Translator

    peer = Translator(
        str(folder), compute_type="int8", intra_threads=threads, inter_threads=workers
    )
    source = words(torch.randint(4, VOCAB, (32, SOURCE)))
    exact = {"min_decoding_length": TARGET, "max_decoding_length": TARGET}

    def run(batch: int, beam: int) -> object:
        share = batch // workers if workers > 1 else 0
        return peer.translate_batch(source[:batch], beam_size=beam, max_batch_size=share, **exact)

    return run


def ctranslate2_gpt(folder: Path, threads: int) -> Run:
    """CTranslate2's generator in eight bits."""
    from ctranslate2 import Generator

    peer = Generator(str(folder), compute_type="int8", intra_threads=threads)
    prompt = words(torch.randint(4, GPT_VOCAB, (32, PROMPT)))

    def run(batch: int, beam: int) -> object:
        return peer.generate_batch(
            prompt[:batch],
            beam_size=beam,
            min_length=NEW,
            max_length=NEW,
            include_prompt_in_result=False,
            sampling_topk=1,
        )

    return run


def huggingface(dtype: torch.dtype, threads: int) -> Run:
    """transformers' Marian of the same size."""
    from transformers import MarianConfig, MarianMTModel

    config = MarianConfig(
        vocab_size=VOCAB, d_model=512, encoder_layers=6, decoder_layers=6,
        encoder_attention_heads=8, decoder_attention_heads=8, encoder_ffn_dim=2048,
        decoder_ffn_dim=2048, activation_function="relu", pad_token_id=0, eos_token_id=2,
        bos_token_id=1, decoder_start_token_id=1, forced_eos_token_id=None, scale_embedding=True,
    )  # fmt: skip
    model = MarianMTModel(config).eval().to(dtype)
    source = torch.randint(4, VOCAB, (32, SOURCE))

    @torch.inference_mode()
    def run(batch: int, beam: int) -> object:
        torch.set_num_threads(threads)
        exact = {"min_new_tokens": TARGET, "max_new_tokens": TARGET, "do_sample": False}
        return model.generate(source[:batch], num_beams=beam, **exact)

    return run


def huggingface_gpt(dtype: torch.dtype, threads: int) -> Run:
    """transformers' GPT-2."""
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config()).eval().to(dtype)
    prompt = torch.randint(4, GPT_VOCAB, (32, PROMPT))

    @torch.inference_mode()
    def run(batch: int, beam: int) -> object:
        torch.set_num_threads(threads)
        exact = {"min_new_tokens": NEW, "max_new_tokens": NEW, "do_sample": False}
        ids = prompt[:batch]
        mask = torch.ones_like(ids)
        return model.generate(ids, attention_mask=mask, num_beams=beam, pad_token_id=0, **exact)

    return run


def bandwidth() -> float:
    """Gigabytes a second that two threads read."""
    numbers = torch.zeros(100_000_000)
    torch.set_num_threads(2)
    return 0.4 / statistics.median(seconds(lambda: numbers.sum()) for _ in range(7))


def seconds(run: Callable[[], object]) -> float:
    """Of one call."""
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


PEERS: dict[str, dict[str, tuple[Callable[..., Run], tuple[object, ...]]]] = {
    "pair": {
        **{
            f"sublayer {kind}, {n} threads": (ours, (FOLDER, kind, n))
            for kind in KINDS["pair"]
            for n in (1, 2)
        },
        **{f"CTranslate2 int8, {n} threads": (ctranslate2, (FOLDER, n)) for n in (1, 2)},
        "CTranslate2 int8, 2 workers": (ctranslate2, (FOLDER, 1, 2)),
        "transformers float32, 2 threads": (huggingface, (torch.float32, 2)),
        "transformers bfloat16, 2 threads": (huggingface, (torch.bfloat16, 2)),
    },
    "gpt": {
        **{
            f"sublayer {kind}, {n} threads": (our_gpt, (FOLDER, kind, n))
            for kind in KINDS["gpt"]
            for n in (1, 2)
        },
        **{f"CTranslate2 int8, {n} threads": (ctranslate2_gpt, (FOLDER, n)) for n in (1, 2)},
        "transformers float32, 2 threads": (huggingface_gpt, (torch.float32, 2)),
        "transformers bfloat16, 2 threads": (huggingface_gpt, (torch.bfloat16, 2)),
    },
}
"""What makes a peer, and of what."""


def serve(case: str, name: str, folder: Path, ends: Connection) -> None:
    """A peer in a process of its own, so that nobody's threads stand in another's way."""
    warnings.simplefilter("ignore")
    keep_freed_memory()
    make, inputs = PEERS[case][name]
    run = make(*(folder if given is FOLDER else given for given in inputs))
    ends.send(_most())
    with suppress(EOFError):  # nobody asks any more
        while True:
            once = partial(run, *ends.recv())
            once()
            ends.send(statistics.median(seconds(once) for _ in range(3)))
            ends.send(_most())


def _most() -> int:
    """The most memory that this process has had, in KiB: of its own, not of what began it."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def compare(
    case: str, folder: Path, cases: list[tuple[int, int]], rounds: int
) -> tuple[list[str], float]:
    """A line of a table for each case and kind: the best of its thread counts, medians.

    Beside them what memory gives, in turns with the peers, for it depends on who else is there.
    """
    context = multiprocessing.get_context("spawn")
    peers: dict[str, Connection] = {}
    for name in PEERS[case]:
        peers[name], theirs = context.Pipe()
        arguments = (case, name, folder, theirs)
        context.Process(target=serve, args=arguments, daemon=True).start()
        peers[name].recv()
    tokens, lines, given = TARGET if case == "pair" else NEW, [], []
    for batch, beam in cases:
        taken: dict[str, list[float]] = {name: [] for name in peers}
        memory: dict[str, int] = {}
        for _ in range(rounds):
            given.append(bandwidth())
            for name, ends in peers.items():
                ends.send((batch, beam))
                taken[name].append(ends.recv())
                memory[name] = ends.recv()
        best: dict[str, tuple[float, str, int]] = {}
        for name, all_took in taken.items():
            kind, _, how = name.partition(", ")
            rate = batch * tokens / statistics.median(all_took)
            best[kind] = max(best.get(kind, (0.0, "", 0)), (rate, how, memory[name] // 1024))
        for kind, (rate, how, most) in best.items():
            lines.append(f"| {batch} | {beam} | {kind} | {rate:,.0f} | {how} | {most:,} |")
            print(lines[-1], flush=True)
    return lines, statistics.median(given)


def main() -> None:
    """The table, on the screen and in a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--case", choices=["pair", "gpt"], default="pair")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    lines = ["| batch | beam | | tokens/s | best with | MiB |", "|---|---|---|---|---|---|"]
    with TemporaryDirectory() as place:
        folder = Path(place)
        is_pair = options.case == "pair"
        of = ("transformer", "base", VOCAB) if is_pair else ("gpt", "small", GPT_VOCAB)
        network = write(*of, KINDS[options.case], folder)
        names = [f"t{i}" for i in range(VOCAB if is_pair else GPT_VOCAB)]
        export(network, folder, names)
        cases = CASES if is_pair else CASES[:1]
        measured, given = compare(options.case, folder, cases, options.rounds)
    lines += measured
    told = f"Memory read by a sum on two threads: {given:.1f} GB/s. {date.today()}."
    print(told)
    if options.out is not None:
        options.out.write_text("\n".join([*lines, "", told, ""]))


if __name__ == "__main__":
    main()
