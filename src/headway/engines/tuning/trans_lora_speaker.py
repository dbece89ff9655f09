"""A base model with its tokenizer and its adapters, as somebody who writes."""

from __future__ import annotations

import functools
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from headway.core.errors import ConfigError
from headway.engines import pretrained
from headway.engines.tuning.trans_lora_spec import Lesson

if TYPE_CHECKING:
    from torch import Tensor

BATCH_TEXTS = 64
"""The most texts that are computed at once."""


class Speaker:
    """A base, and any number of LoRA adapters on it, of which one at most is in use.

    Parameters
    ----------
    folder : str
        Folder or hub id of a decoder-only checkpoint.
    device : str
        Where it computes: ``"cpu"``, ``"cuda"``, or ``"auto"``, a GPU where there is one, by default.

    Raises
    ------
    ConfigError
        When the model cannot be loaded.
    """

    def __init__(self, folder: str, device: str = "auto") -> None:
        from transformers import AutoTokenizer

        described = pretrained.read_config(folder)
        pretrained.check_decoder_only(folder, described)
        self.folder = folder
        self.device = pretrained.choose_device(device, "transfer")
        self.model: Any = pretrained.load_weights(folder, described, torch.float32, self.device).eval()
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self._piece: Callable[[int], str] = functools.cache(lambda id: str(self.tokenizer.decode([id])))

    # Adapters --------------------------------------------------------------------------------------------------------

    def graft(self, name: str, folder: str) -> None:
        """Take on an adapter from a folder in peft format.

        Raises
        ------
        ConfigError
            When it cannot be read or does not fit.
        """
        try:
            with _several_adapters():
                self._graft(name, folder)
        except (OSError, ValueError, RuntimeError) as error:
            raise ConfigError(
                f"adapter {folder!r}: must be a LoRA of {self.folder!r}, got {error}. Check both folders."
            ) from error
        self.model.eval()

    def _graft(self, name: str, folder: str) -> None:
        from peft import PeftModel

        if isinstance(self.model, PeftModel):
            self.model.load_adapter(folder, adapter_name=name)
        else:
            self.model = PeftModel.from_pretrained(self.model, folder, adapter_name=name)

    def grow(self, name: str, lesson: Lesson, seed: int) -> None:
        """Take on a fresh adapter, whose first weights follow from `seed`."""
        from peft import LoraConfig, PeftModel, get_peft_model

        config = LoraConfig(
            r=lesson.rank, lora_alpha=lesson.alpha, target_modules=list(lesson.targets), task_type="CAUSAL_LM"
        )
        with torch.random.fork_rng(devices=[]), _several_adapters():
            torch.manual_seed(seed)
            if isinstance(self.model, PeftModel):
                self.model.add_adapter(name, config)
            else:
                self.model = get_peft_model(self.model, config, adapter_name=name)

    @contextmanager
    def using(self, name: str) -> Iterator[None]:
        """Speak with an adapter; with none where `name` is empty."""
        if name:
            self.model.set_adapter(name)
            yield
        elif hasattr(self.model, "disable_adapter"):
            with self.model.disable_adapter():
                yield
        else:
            yield

    def drop(self, name: str) -> None:
        """Forget an adapter."""
        with _several_adapters():
            self.model.delete_adapter(name)
            if not self.model.peft_config:
                self.model = self.model.unload()

    def save(self, name: str, folder: str) -> Path:
        """Write an adapter in peft format, whole or not at all; returns its folder."""
        out = Path(folder)
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent) as under_way:
            self.model.save_pretrained(under_way, selected_adapters=[name])
            if out.exists():
                shutil.rmtree(out)
            shutil.move(str(Path(under_way) / name), out)
        return out

    # Words -----------------------------------------------------------------------------------------------------------

    def prompt(self, text: str, chat: bool = False) -> list[int]:
        """Return the tokens of a prompt; of a user's message with `chat`."""
        if chat:
            message = [{"role": "user", "content": text}]
            return list(self.tokenizer.apply_chat_template(message, add_generation_prompt=True, return_dict=False))
        return list(self.tokenizer.encode(text))

    def answer(self, text: str) -> list[int]:
        """Return the tokens of an answer, with the one that ends it."""
        return [*self.tokenizer.encode(text, add_special_tokens=False), self.tokenizer.eos_token_id]

    @torch.inference_mode()
    def write(
        self,
        prompts: Sequence[list[int]],
        most_tokens: int,
        *,
        stop: str = "",
        temperature: float = 0.0,
        dice: torch.Generator | None = None,
    ) -> list[str]:
        """Go on after prompts, up to the end token or `stop`; greedily where the temperature is 0."""
        out: list[str] = []
        for first in range(0, len(prompts), BATCH_TEXTS):
            batch = prompts[first : first + BATCH_TEXTS]
            for tokens in self._write(batch, most_tokens, stop, temperature, dice):
                text = str(self.tokenizer.decode(tokens, skip_special_tokens=True))
                out.append(text.split(stop)[0] if stop else text)
        return out

    @torch.inference_mode()
    def last_logits(self, prompts: Sequence[list[int]]) -> Tensor:
        """Return the logits after prompts, `[prompts, vocabulary]`."""
        out = []
        for first in range(0, len(prompts), BATCH_TEXTS):
            ids, mask, places = self._left_padded(prompts[first : first + BATCH_TEXTS])
            out.append(self.model(input_ids=ids, attention_mask=mask, position_ids=places).logits[:, -1])
        return torch.cat(out)

    def _left_padded(self, prompts: Sequence[list[int]]) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens, mask and positions of prompts that all end together, each `[prompts, tokens]`."""
        longest = max(map(len, prompts))
        ids = torch.zeros(len(prompts), longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, tokens in enumerate(prompts):
            ids[row, longest - len(tokens) :] = torch.tensor(tokens)
            mask[row, longest - len(tokens) :] = 1
        ids, mask = ids.to(self.device), mask.to(self.device)
        return ids, mask, (mask.cumsum(-1) - 1).clamp(min=0)

    def _write(
        self,
        prompts: Sequence[list[int]],
        most_tokens: int,
        stop: str,
        temperature: float,
        dice: torch.Generator | None,
    ) -> list[list[int]]:
        ids, mask, places = self._left_padded(prompts)
        written: list[list[int]] = [[] for _ in prompts]
        going, cache = set(range(len(prompts))), None
        while going and max(map(len, written)) < most_tokens:
            found = self.model(
                input_ids=ids, attention_mask=mask, position_ids=places, past_key_values=cache, use_cache=True
            )
            cache = found.past_key_values
            ids = _choose(found.logits[:, -1], temperature, dice)
            mask = torch.cat([mask, mask.new_ones(len(prompts), 1)], dim=1)
            places = places[:, -1:] + 1
            for row, token in enumerate(ids[:, 0].tolist()):
                if row in going and token != self.tokenizer.eos_token_id:
                    written[row].append(token)
                if token == self.tokenizer.eos_token_id or (stop and stop in self._piece(token)):
                    going.discard(row)
        return written


@contextmanager
def _several_adapters() -> Iterator[None]:
    """Let `peft` take on another adapter without remarks about it, or about what it calls in `transformers`."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Already found a `peft_config`")
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        warnings.filterwarnings("ignore", "Adapter .* was active which is now deleted")
        yield


def _choose(logits: Tensor, temperature: float, dice: torch.Generator | None) -> Tensor:
    """Choose a token for each row, `[rows, 1]`."""
    if temperature == 0.0:
        return logits.argmax(-1, keepdim=True)
    probs = torch.softmax(logits.float() / temperature, -1).cpu()  # dice that are the same on every device
    return torch.multinomial(probs, 1, generator=dice).to(logits.device)
