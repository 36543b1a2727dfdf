"""The mutants of case 13: faults of one line, each with the tests that guard the promise it breaks."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """One fault.

    Args:
        name: what is broken.
        file: below the checkout.
        old, new: text that stands there once, and what it becomes.
        tests: that guard it, as pytest names them.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


TRAINING = "tests/training/test_training.py"
GUARD = "tests/training/test_guard.py"
CHECKPOINT = "tests/training/test_checkpoint.py"
STAGE = "tests/stages/test_train.py"
PROCESSES = "tests/faults/test_processes.py"
KILLED = (f"{TRAINING}::test_a_killed_training_resumes_to_the_same_bytes",)
TWO_PROCESSES = (f"{PROCESSES}::test_two_processes_compute_what_one_does_and_go_on_where_another_number_stopped",)
ON_DISK = (
    "tests/faults/test_storage.py::test_bytes_are_on_the_disk_before_their_name_is_and_the_name_before_the_oldest_goes",
)

MUTANTS = (
    # What is random.
    Mutant(
        "noise from the global generator",
        "src/rediffuse/training/trainer.py",
        "noise = torch.randn(x0.shape, generator=draw, device=device)",
        "noise = torch.randn(x0.shape, device=device)",
        (f"{KILLED[0]}[1-0.0]",),
    ),
    Mutant(
        "one noise for all microbatches",
        "src/rediffuse/training/trainer.py",
        'draw = generator(seed, "train/noise", step, index, device)',
        'draw = generator(seed, "train/noise", step, 0, device)',
        (f"{TRAINING}::test_two_microbatches_are_one_batch_up_to_rounding",),
    ),
    Mutant(
        "dropout without a key",
        "src/rediffuse/training/trainer.py",
        'seeded_global(seed, "train/dropout", step, index, device) if dropout else nullcontext()',
        "nullcontext()",
        (f"{KILLED[0]}[1-0.3]",),
    ),
    Mutant(
        "validation noise that is another each time",
        "src/rediffuse/training/validation.py",
        'noise = torch.randn(x0.shape, generator=generator(seed, f"{STREAM}/noise", index=start)).to(device)',
        "noise = torch.randn(x0.shape).to(device)",
        (f"{TRAINING}::test_validation_is_of_the_raw_and_of_the_averaged_weights",),
    ),
    Mutant(
        "image i by its place in the batch",
        "src/rediffuse/samplers/generation.py",
        "keys=[NoiseKey(seed, index) for index in indices]",
        "keys=[NoiseKey(seed, place) for place, _ in enumerate(indices)]",
        ("tests/samplers/test_generation.py::test_an_image_has_noise_of_its_own_wherever_it_stands_in_a_batch",),
    ),
    # Files.
    Mutant(
        "files written in place",
        "src/rediffuse/files.py",
        'temporary = path.with_name(f".{os.getpid()}.{path.name}")',
        "temporary = path",
        ("tests/test_files.py::test_a_write_that_fails_leaves_the_old_file_and_nothing_else",),
    ),
    Mutant(
        "files renamed before they are on the disk",
        "src/rediffuse/files.py",
        "os.fsync(written.fileno())",
        "written.fileno()",
        ("tests/test_files.py::test_bytes_are_on_the_disk_before_their_name_is",),
    ),
    Mutant(
        "a second metadata key",
        "src/rediffuse/model.py",
        "{_KEY: json.dumps(description, sort_keys=True)}",
        '{_KEY: json.dumps(description, sort_keys=True), "torch": torch.__version__}',
        ("tests/test_model.py::test_the_file_is_the_same_bytes_each_time_and_has_one_metadata_key",),
    ),
    Mutant(
        "metrics in the order of a set",
        "src/rediffuse/files.py",
        "sort_keys=True, ensure_ascii=False",
        "sort_keys=False, ensure_ascii=False",
        ("tests/test_files.py::test_json_is_the_same_bytes_for_the_same_value",),
    ),
    # Inputs.
    Mutant(
        "inputs not compared",
        "src/rediffuse/provenance/inputs.py",
        "if out_md5(each.path) != each.md5:",
        "if False:",
        ("tests/faults/test_inputs.py::test_bytes_that_change_where_dvc_does_not_look_are_found",),
    ),
    Mutant(
        "inputs never checked",
        "src/rediffuse/stage.py",
        "check_inputs(workspace, name)",
        "pass",
        ("tests/faults/test_inputs.py::test_a_corrupt_blob_is_named_before_training_and_the_advice_heals_it",),
    ),
    # The state of a training.
    Mutant(
        "a fingerprint that forgets a part",
        "src/rediffuse/training/fingerprint.py",
        "json.dumps(parts, sort_keys=True)",
        'json.dumps({**parts, "train": None}, sort_keys=True)',
        (f"{TRAINING}::test_the_fingerprint_is_one_for_equal_parts_and_another_for_any_change",),
    ),
    Mutant(
        "a fingerprint without the environment",
        "stages/train.py",
        '"environment": runtime.environment(device),',
        '"environment": {},',
        (f"{STAGE}::test_every_part_of_the_environment_makes_it_another_training",),
    ),
    Mutant(
        "fast in no fingerprint",
        "stages/train.py",
        'if processes > 1 and params.runtime.reduction == "fast":',
        "if False:",
        (f"{STAGE}::test_the_number_of_processes_makes_it_another_training_only_where_their_sums_differ",),
    ),
    Mutant(
        "a checkpoint without the running mean",
        "src/rediffuse/training/guard.py",
        "self.memory = torch.stack([taken + accepted, mean, skipped + refused, row])",
        "self.memory = torch.stack([taken * 0 + 1, mean, skipped + refused, row])",
        (f"{GUARD}::test_a_spike_is_a_loss_above_so_many_times_the_mean_of_those_taken",),
    ),
    Mutant(
        "a bad step that is taken all the same",
        "src/rediffuse/training/trainer.py",
        "state.optimizer.found_inf = refused",
        "state.optimizer.found_inf = refused * 0",
        (f"{GUARD}::test_a_skipped_step_leaves_weights_and_moments_as_they_were",),
    ),
    Mutant(
        "a validation that is forgotten when training leaves in it",
        "src/rediffuse/training/pauses.py",
        "if self._due(self.params.validate_every) and not _has(self.curves.validation, step):",
        "if self._due(self.params.validate_every) and self._saved_step < step:",
        ("tests/faults/test_resume.py",),
    ),
    Mutant(
        "leaving saves nothing",
        "src/rediffuse/training/fit.py",
        "            pauses.save()\n            raise",
        "            raise",
        ("tests/faults/test_resume.py",),
    ),
    Mutant(
        "no interval in seconds",
        "src/rediffuse/training/pauses.py",
        "return time.monotonic() - self._saved_at >= self.runtime.checkpoint_seconds",
        "return False",
        (f"{TRAINING}::test_intervals_of_the_runtime_change_no_byte",),
    ),
    Mutant(
        "one slot",
        "src/rediffuse/training/checkpoint_writer.py",
        "if path not in (written, *older[:1]):",
        "if path != written:",
        (f"{CHECKPOINT}::test_the_two_newest_are_kept_and_the_folder_goes_when_all_is_done",),
    ),
    Mutant(
        "not read back after a write",
        "src/rediffuse/training/checkpoint_writer.py",
        "if not checkpoint_file.reads_back(written):",
        "if False:",
        (f"{CHECKPOINT}::test_a_checkpoint_that_does_not_read_back_is_removed_and_both_older_ones_stay",),
    ),
    Mutant(
        "not read back at a load",
        "src/rediffuse/training/checkpoint_file.py",
        "if not reads_back(path):",
        "if False:",
        ("tests/faults/test_spoilt_checkpoints.py::test_a_checkpoint_whose_bytes_changed_is_passed_over_and_named",),
    ),
    Mutant(
        "no fsync",
        "src/rediffuse/training/checkpoint_file.py",
        "os.fsync(file.fileno())",
        "file.fileno()",
        ON_DISK,
    ),
    Mutant(
        "a name that is not on the disk",
        "src/rediffuse/training/checkpoint_file.py",
        "        fsync_directory(folder)\n",
        "",
        ON_DISK,
    ),
    # Locks.
    Mutant(
        "a lock that is shared",
        "src/rediffuse/state_folder.py",
        "fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)",
        ("tests/test_state_folder.py::test_a_held_folder_is_refused_and_a_left_one_is_not",),
    ),
    Mutant(
        "a lock on a removed folder",
        "src/rediffuse/state_folder.py",
        "if _same(descriptor, path / LOCK):",
        "if True:",
        (
            "tests/test_state_folder.py::"
            "test_a_lock_on_a_folder_that_was_removed_meanwhile_is_not_taken_for_the_new_one",
        ),
    ),
    Mutant(
        "two on one GPU",
        "src/rediffuse/gpus.py",
        "fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB)",
        "fcntl.LOCK_SH | (0 if wait else fcntl.LOCK_NB)",
        ("tests/test_gpus.py::test_processes_that_contend_for_two_gpus_never_share_one_and_all_get_their_turn",),
    ),
    Mutant(
        "a lock let go at once",
        "stages/train.py",
        "    with checkpoints.locked() if processes.first else nullcontext():\n",
        "    with checkpoints.locked() if processes.first else nullcontext():\n        pass\n    if True:\n",
        (f"{STAGE}::test_a_training_holds_its_folder_until_all_is_written",),
    ),
    # Several processes.
    Mutant(
        "a seed for each process",
        "src/rediffuse/training/trainer.py",
        'draw = generator(seed, "train/noise", step, index, device)',
        "rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0\n"
        '    draw = generator(seed + rank, "train/noise", step, index, device)',
        TWO_PROCESSES,
    ),
    Mutant(
        "branches in the order they came",
        "src/rediffuse/training/reduction.py",
        "(total,) = tree_sum(self.whole, _no_leaf, known)",
        "total = sum(part for (part,) in known.values())",
        TWO_PROCESSES,
    ),
    Mutant(
        "a tree cut in the middle",
        "src/rediffuse/training/reduction.py",
        "middle = low + (1 << (high - low - 1).bit_length() - 1)",
        "middle = (low + high) // 2",
        ("tests/training/test_reduction.py::test_the_sum_is_the_same_bits_for_every_number_of_processes",),
    ),
    Mutant(
        "processes that differ",
        "src/rediffuse/processes.py",
        "if facts[0].get(key) != other.get(key):",
        "if False:",
        (f"{PROCESSES}::test_processes_that_are_not_alike_are_refused_in_one_line",),
    ),
    Mutant(
        "others without the checkpoint",
        "src/rediffuse/training/sharding.py",
        "        restore(state, received)",
        "        pass",
        TWO_PROCESSES,
    ),
    Mutant(
        "torch's all-reduce for the tree",
        "src/rediffuse/training/fit.py",
        'if runtime.reduction == "fast" and current().count > 1:',
        "if current().count > 1:",
        TWO_PROCESSES,
    ),
    Mutant(
        "loaders ignored",
        "src/rediffuse/training/fit.py",
        "loaders=runtime.loaders,",
        "loaders=0,",
        ("tests/faults/test_loaders.py::test_a_training_with_loaders_has_the_bytes_of_one_without",),
    ),
    # Leaving.
    Mutant(
        "a signal that is ignored",
        "src/rediffuse/leaving/__init__.py",
        "if self.working and not (self._raised or self._staying or self.deferring):",
        "if False:",
        (
            "tests/test_leaving.py::"
            "test_a_signal_interrupts_what_waits_and_what_takes_any_exception_for_its_own[SIGTERM]",
        ),
    ),
    Mutant(
        "a watchdog that sleeps",
        "src/rediffuse/leaving/__init__.py",
        "if end is not None and time.monotonic() >= end:",
        "if False:",
        ("tests/test_leaving.py::test_what_hangs_is_ended_when_the_grace_is_over[C call]",),
    ),
    Mutant(
        "a dvc whose death is not seen",
        "src/rediffuse/leaving/__init__.py",
        "if end is None and (self._orphaned or (self._dvc and not lives(self._dvc))):",
        "if False:",
        ("tests/test_leaving.py::test_a_stage_whose_dvc_has_died_leaves[False-gone]",),
    ),
    # Tracking.
    Mutant(
        "a journal told twice is two runs",
        "src/rediffuse/tracking/mlflow_run.py",
        "_newest(store, f\"tags.`{JOURNAL_TAG}` = '{folder.name}'\")\n            or ",
        "",
        ("tests/faults/test_tracking.py::test_a_journal_told_again_from_its_beginning_changes_nothing",),
    ),
    Mutant(
        "a curve told twice",
        "src/rediffuse/tracking/mlflow_run.py",
        "if before is None:",
        "if True:",
        ("tests/tracking/test_tracked_run.py::test_curves_skip_the_steps_that_an_earlier_process_logged",),
    ),
    Mutant(
        "how far it got is forgotten",
        "src/rediffuse/tracking/journal.py",
        "self.sent, self.run_id, self.late = _mirrored(folder)",
        "self.sent, self.run_id, self.late = 0, None, ()",
        ("tests/tracking/test_journal.py::test_what_was_sent_is_remembered_and_a_spoilt_memory_means_all_again",),
    ),
)
