"""What each finding says: code -> (message, hint). A number before a noun is written {n:noun}."""

from __future__ import annotations

WORDS: dict[str, tuple[str, str]] = {
    # where pictures come from
    "no_folder": ("no picture folder is given.", "Set data.folder to a folder with pictures."),
    "missing_folder": ("there is no folder {folder}.", "Check the spelling, or that the drive is connected."),
    "not_a_folder": ("{folder} is a file.", "Give the folder that holds it."),
    "not_readable": ("{folder} may not be read.", "Change its permissions, or choose another folder."),
    "bad_zip": ("{reason}", "{remedy}"),
    "bad_backend": ("{reason}", "{remedy}"),
    "empty_folder": ("there are no pictures in {folder}.", "Put pictures into it ({endings})."),
    "layout_flat": ("{where}plain folder: {n:picture}.", ""),
    "layout_kohya": ("{where}kohya folders: {concepts:concept}, {n:picture}.", ""),
    "layout_imagefolder": ("{where}ImageFolder table: {n:picture}.", ""),
    "layout_diffsynth": ("{where}DiffSynth table: {n:picture}.", ""),
    "layout_json": ("{where}captions in JSON: {n:picture}.", ""),
    "layout_simpletuner": ("{where}SimpleTuner data set: {n:picture}.", ""),
    "unused_settings": ("{where}settings without effect here: {names}.", "Remove them, or set what you need instead."),
    "prior_alone": (
        "all pictures are regularisation pictures; there is nothing to learn.",
        "Add a folder with the pictures that you want to teach.",
    ),
    # files that cannot be used
    "bad_pictures": ("{n:picture} cannot be read: {names}.", "Mend or remove them, or set data.skip_bad = true."),
    "bad_captions": (
        "{n:caption} cannot be read: {names}.",
        "Save them as UTF-8, or set data.skip_bad = true to go on without these pictures.",
    ),
    "bad_left_out": ("go on without {n:picture} that cannot be read: {names}.", "Mend or remove them."),
    "headers_only": (
        "of {n:picture} only the headers were read.",
        "Damage further in shows when the run encodes them; copies were not looked for.",
    ),
    "clips": ("{n:clip} left out: {family} learns from pictures.", "Save single frames as pictures."),
    # captions and tables beside pictures
    "orphans": ("{n:caption or mask file} without picture: {names}.", "Rename or remove them."),
    "shared_caption": (
        "{n:caption} shared by pictures that differ only in their ending: {names}.",
        "Rename the pictures, so that each has its own.",
    ),
    "table_missing": ("{n:picture} listed in a table and not there: {names}.", "Correct the names in the table."),
    "table_faults": ("{n:row} of tables cannot be used: {names}.", "Correct them, or remove them."),
    "two_captions": (
        "{n:picture} with a caption in a table and one beside it; the file beside it counts.",
        "Remove one of the two.",
    ),
    # copies
    "duplicates": ("{n:picture} the same as another one: {names}.", "Each copy is trained as often as the picture."),
    "near_duplicates": (
        "{n:picture} in {groups:group} nearly the same: {names}.",
        "Keep the best of each group, or the others count less.",
    ),
    "blurry": ("{n:picture} blurred: {names}.", "Blur is learned like anything else: use sharper originals."),
    "same_caption": (
        "{n:picture} of {of} with the same caption: {caption}.",
        "Say what differs between them: what is not said is taken for part of the concept.",
    ),
    # sizes
    "pictures": ("{n:picture} at {side} px in {sizes:size} ({shapes}).", ""),
    "tiny_pictures": (
        "{n:picture} with less than a quarter of {side} px on a side: {names}.",
        "Use larger originals, or remove them.",
    ),
    "small_pictures": (
        "{n:picture} will be enlarged a lot, with less than half of {side} x {side} pixels.",
        "Lower data.resolution, or use larger originals.",
    ),
    "kept_small": ("{n:picture} below {side} px, trained at the own size.", ""),
    "cropped_pictures": (
        "{n:picture} will lose more than {loss}: no training size has such a shape.",
        "Cut them to shape yourself.",
    ),
    "small_sizes": (
        "{sizes:size} with fewer pictures than a batch of {batch} ({shapes}): trained as smaller batches.",
        "",
    ),
    # masks
    "no_mask": ("{n:picture} without mask: all of it counts.", "Add masks, or set data.mask = none."),
    "unused_masks": ("{n:mask file} beside pictures, not used.", "Set data.mask = file to use them."),
    # captions
    "captions": ("every picture has a caption.", ""),
    "no_caption": (
        "{n:picture} without caption; training sees an empty one.",
        "Write captions, or set captions.trigger or captions.fallback.",
    ),
    "stand_in": ("{n:picture} without caption, trained as {text}.", "Captions teach more."),
    "empty_caption": ("{n:caption file} empty: {names}.", "Write the captions, or remove the files."),
    "no_trigger": ("{n:caption} without '{trigger}'; it is put in front.", "Write it where it belongs."),
    "too_long": (
        "{n:caption} longer than the {limit:token} that {encoder} reads: {names}.",
        "The rest is not seen: shorten them, or say what matters first.",
    ),
    "lines_draw": ("{n:picture} with several captions; each visit draws one of them.", ""),
    "lines_first": ("{n:picture} with captions of several lines; only the first line counts.", ""),
    "lines_join": ("{n:picture} with captions of several lines, joined into one.", ""),
    "choices": ("{n:caption} with choices as in {{a|b}}; each visit draws one.", ""),
    "choices_off": (
        "{n:caption} with choices as in {{a|b}}, read as they stand.",
        "Set captions.wildcards = true to draw one of them.",
    ),
    # preference pairs
    "no_pairs": (
        "no preference pairs are given.",
        "Set objective.pairs to a preference set or a pairs.train.jsonl file.",
    ),
    "bad_pairs": ("{reason}", "{remedy}"),
    "pairs": ("{n:pair} of {prompts:prompt} to train on, {held:pair} held out.", ""),
    "liked_pictures": ("{liked:picture} liked and {others} not, of {prompts:prompt}; {held:pair} held out.", ""),
    "one_sided": (
        "{n:picture} that are all liked, or all not.",
        "Vote on more pairs: what is liked is learned from what is not.",
    ),
    "broken_pairs": (
        "{n:pair} left out, with pictures that cannot be read: {names}.",
        "Put the pictures back to where the set has them.",
    ),
    "all_pairs_broken": (
        "none of the {n:pair} can be used: {names}.",
        "Put the pictures back to where the set has them, or export the pairs again.",
    ),
    "all_held_out": (
        "{n:pair} held out, and none left to train on.",
        "Vote on pairs of more prompts, or hold out fewer when you export.",
    ),
    "divided_prompts": (
        "{n:prompt} on both sides of the file; all pairs of them are held out.",
        "Divide the file by prompts, or measurements would say too much.",
    ),
    "none_held_out": (
        "no pair is held out: nothing will tell what is learned from what is remembered.",
        "Set validation.fraction = 0.1.",
    ),
    "unpaired": (
        "{n:picture} without partner left out: the preference loss {loss} learns from pairs.",
        "Set objective.preference_loss = kto to learn from these too.",
    ),
    "no_real_pairs": (
        "no pair has a real picture as the preferred one.",
        "Add real pictures to the set, or set objective.real_ratio = 0.",
    ),
    "pairs_cut": (
        "{n:pair} of which one picture loses more than {loss}: both get the shape of the preferred one.",
        "Use pictures of one shape for each prompt.",
    ),
    "long_prompts": (
        "{n:prompt} longer than the {limit:token} that {encoder} reads: {names}.",
        "The rest is not seen, as it was not when the pictures were drawn.",
    ),
    "unread_options": ("this objective does not read {names}.", "Leave them at their defaults."),
    "beta_low": (
        "beta {beta} is below what was published for such models ({low} to {high}).",
        "Nothing holds the model near its reference then: watch pictures and drift, or raise objective.beta.",
    ),
    "beta_high": (
        "beta {beta} is above what was published for such models ({low} to {high}).",
        "Pairs stop to count after the smallest change: lower objective.beta.",
    ),
    "pair_rate": (
        "a learning rate of {rate} is high for preference pairs, where 1e-5 is usual.",
        "Set optimizer.learning_rate = auto.",
    ),
    "kto_alone": (
        "kto compares each picture with the mean of its batch, which is the picture itself.",
        "Set schedule.batch_size to 2 or more.",
    ),
    "no_sft_lora": ("there is no file {file}.", "Give a LoRA file to build on, or leave objective.sft_lora empty."),
    "pair_epoch": ("an epoch is {batches:batch} or {per_epoch:step}; the run shows each pair about {shown} times.", ""),
    # steps
    "epoch": ("an epoch is {batches:batch} or {per_epoch:step}; the run shows each picture about {shown} times.", ""),
    "warmup": (
        "the warm-up takes {warmup} of {steps} steps: the learning rate is never reached.",
        "Lower schedule.warmup_steps.",
    ),
    # model
    "no_model": ("{source} holds no model.", "Give a checkpoint file, or a folder in diffusers layout."),
    "model_file": ("{reason}", "{remedy}"),
    "model_lacks": (
        "{file} holds no {part}, and none was found on this machine.",
        "Put {names} ({gib} GB, from {where}) beside it or into {folder}, or set {setting}.",
    ),
    "no_model_config": ("{folder} does not say how a {part} is built.", "Give a folder in diffusers layout."),
    "model_part": ("{source} lacks {parts}.", "Copy or download the model again."),
    "no_model_id": ("'{source}' is neither a folder nor a Hugging Face id.", "Ids look like owner/name."),
    "model": ("{source} is on this machine.", ""),
    "download": ("{source} will be downloaded (about {gib} GB).", ""),
    "gated_download": (
        "{source} will be downloaded (about {gib} GB).",
        "Accept its licence on huggingface.co and sign in with `hf auth login`.",
    ),
    "no_token": (
        "{source} asks for its licence to be accepted, and nobody is signed in here.",
        "Accept it on huggingface.co, then run `hf auth login`, or set HF_TOKEN.",
    ),
    "offline": (
        "{source} is not on this machine, and downloads are switched off (HF_HUB_OFFLINE).",
        "Unset HF_HUB_OFFLINE, or give a folder or file.",
    ),
    "no_modelscope": ("downloads from ModelScope need a package.", "Run `pip install -r requirements-modelscope.txt`."),
    "download_disk": (
        "the download of {source} needs about {need} GB of disk; {free} GB are free in {folder}.",
        "Free some space, or set HF_HOME to a folder on another disk.",
    ),
    "zero_snr_epsilon": (
        "the base predicts the noise, which at the last level of such a schedule is the very input.",
        "Set noise.zero_snr = off, or model.prediction = v_prediction if the base was trained so.",
    ),
    "dora_diffusers": (
        "a DoRA in the {layout} layout is read in full by diffusers alone; ComfyUI leaves its magnitudes out.",
        "Set save.layout = kohya for ComfyUI and Forge.",
    ),
    "dora_others": (
        "ComfyUI and Forge draw a DoRA a little differently than it was trained; diffusers and kohya's trainers read "
        "this file as a plain LoRA.",
        "adapter.kind = lora draws alike everywhere.",
    ),
    "no_adapter": ("there is no file {file}.", "Give a LoRA file to continue from."),
    # room
    "name_exists": ("a run named '{name}' exists.", "Choose another name, or resume that run."),
    "not_writable": ("{folder} cannot be written to.", "Choose another folder."),
    "disk": (
        "the run needs {need} GB of disk; {free} GB are free.",
        "Free some space, choose another folder, or keep fewer checkpoints (save.keep_last).",
    ),
    "cache_disk": (
        "encoded pictures need about {need} GB of disk; {free} GB are free.",
        "Free some space, or set data.cache_dir to a folder on another disk.",
    ),
    "memory": (
        "the run needs about {need} GB of memory; {machine} has {has} GB.",
        "Try memory.quantize = fp8, gradient checkpointing, or a lower resolution.",
    ),
    "ram": (
        "loading the base needs about {need} GB of system memory; this machine has {has} GB.",
        "Close other programs, and enlarge the page file (Windows) or swap to make up for the rest.",
    ),
}
