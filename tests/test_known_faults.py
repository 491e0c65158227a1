"""The faults that preference training is known for elsewhere, and the tests that keep each of them away.

The tests lie with what they test; this is their index, which must stay true.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FAULTS: dict[str, tuple[str, ...]] = {
    "a person's correction is turned round once more in training": (
        "test_pref_faults.py::test_a_correction_is_trained_as_the_person_meant_it",
        "test_pref_faults.py::test_a_correction_is_turned_once_however_often_it_goes_round",
        "test_pref_faults.py::test_a_record_that_says_swapped_is_not_swapped_again",
        "test_pref_faults.py::test_nothing_in_a_set_says_chosen_or_rejected",
    ),
    "generation that goes on deletes what was there": (
        "test_pairs_generate.py::test_a_worker_that_is_killed_loses_and_repeats_nothing",
        "test_pairs_generate.py::test_more_pictures_a_prompt_leave_the_old_ones_alone",
        "test_pref_faults.py::test_importing_more_keeps_all_that_was_imported_before",
    ),
    "only one family can be trained, and the others break": (
        "test_dpo_command.py::test_every_family_trains_on_pairs",
        "test_draw.py::test_a_batch_draws_what_each_would_be_alone",
    ),
    "weights are ignored, a missing limb or a failed scorer counts as 0, there is no tie": (
        "test_pref_pairing.py::test_weights_have_effect_on_generated_pictures",
        "test_pref_pairing.py::test_absent_part_is_left_out_and_not_zero",
        "test_pref_pairing.py::test_scorer_that_failed_does_not_reject",
        "test_pref_pairing.py::test_pair_below_the_margin_is_a_tie_or_left_out",
        "test_reward_anatomy.py::test_all_six_points_of_the_feet_count",
        "test_reward_anatomy.py::test_a_portrait_is_not_punished_for_what_is_cut_off",
        "test_reward_anatomy.py::test_weights_have_an_effect",
        "test_reward_anatomy.py::test_a_failure_is_raised_and_never_a_score_of_nought",
        "test_pref_faults.py::test_rewards_of_the_real_picture_may_be_a_list_or_not",
    ),
    "a scorer is read from the disk for every picture": (
        "test_reward_hpsv2.py::test_checkpoint_is_read_once",
        "test_pairs_score.py::test_every_picture_is_scored_once_by_a_scorer_that_is_loaded_once",
    ),
    "a picture that cannot be read is trained as a black one, and the cache mixes things up": (
        "test_pairs_dataset.py::test_a_pair_without_one_of_its_pictures_is_left_out_and_no_black_picture_stands_in",
        "test_pairs_dataset.py::test_a_picture_in_three_pairs_is_encoded_once_and_shares_its_latents_with_plain_training",
        "test_dpo_command.py::test_a_broken_picture_is_told_and_its_pair_left_out",
    ),
    "dropout makes noise of the margin, every epoch has one order, nothing is held out or logged": (
        "test_dpo_training.py::test_dropout_in_the_adapter_is_refused",
        "test_pairs_dataset.py::test_an_epoch_shows_every_pair_once_in_another_order_each_time",
        "test_pairs_dataset.py::test_no_prompt_is_on_both_sides",
        "test_dpo_training.py::test_held_out_pairs_are_a_fixed_ruler_with_all_numbers",
        "test_dpo_training.py::test_numbers_are_those_of_the_four_errors",
    ),
    "asking the reference changes what is trained, and its weights end up in the file": (
        "test_dpo_training.py::test_reference_is_the_same_before_and_after_training_and_after_an_error",
        "test_dpo_training.py::test_reference_of_a_continued_adapter_is_where_it_started",
        "test_dpo_merge.py::test_checkpoint_of_such_a_run_holds_the_upper_adapter_alone",
    ),
    "a dropped caption is another nothing in training than in drawing": (
        "test_pairs_generate.py::test_without_a_negative_prompt_pictures_turn_away_from_what_training_drops_captions_to",
        "test_pairs_dataset.py::test_the_null_caption_is_shared_and_is_that_of_plain_training",
    ),
    "the file acts more strongly in other programs": (
        "test_dpo_merge.py::test_file_of_a_run_on_a_lora_works_alone_on_the_plain_base",
        "test_lora_verify.py::test_a_planted_fault_is_caught",
    ),
    "no seed is kept, files are left half written, a bad path is passed over, the server is open to all": (
        "test_pairs_generate.py::test_a_line_is_enough_to_draw_its_picture_again",
        "test_pref_faults.py::test_an_export_that_fails_leaves_the_earlier_one",
        "test_dpo_config.py::test_a_lora_of_another_family_cannot_be_built_on",
        "test_security_label.py::test_every_other_route_is_closed_to_a_helper",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_has_its_tests(fault: str) -> None:
    missing = [name for name in FAULTS[fault] if name.partition("::")[2] not in names_in(name.partition("::")[0])]
    assert missing == []


def names_in(file: str) -> set[str]:
    tree = ast.parse((HERE / file).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
