"""What users of the predecessor can do, and the tests that show that they can do it here.

One entry for each thing; `test_the_tests_exist` sees that none of the tests it names has gone.
"""

import ast
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent

RUNS = {
    "acquisitions in any order, some left out": (
        "plans/stubs/test_sequences.py::test_actions_and_their_order",
        "plans/stubs/test_sequences.py::test_darks_alone",
    ),
    "acquisitions of the user's own": (
        "plans/core/test_any_device.py::test_the_users_own_order_of_building_blocks",
    ),
    "which acquisition is running": ("viewers/test_progress.py::test_a_tomography",),
    "a directory for each run, by a format that can be set": (
        "storage/runs/test_run_directories.py::test_directories_are_numbered_from_one",
        "storage/runs/test_run_directories.py::test_scan_ids_go_on_with_another_pattern",
    ),
    "no directory is used twice": (
        "storage/runs/test_run_directories.py::test_the_counter_passes_directories_that_others_made",
        "storage/runs/test_run_directories.py::test_a_number_is_not_given_again_after_a_restart_or_a_deletion",
        "storage/runs/test_run_directories.py::test_two_processes_never_get_the_same_directory",
    ),
    "one directory for all": (
        "storage/runs/test_run_directories.py::test_without_separate_scans_the_root_takes_one_run",
    ),
    "a log of each run": (
        "session/test_session.py::test_each_run_has_its_directory_record_and_log",
    ),
    "the state of devices at the start and at the end": (
        "session/test_session.py::test_baseline_devices_are_read_at_both_ends",
    ),
    "optional devices that do not answer fail no run": (
        "session/test_session.py::test_optional_devices_that_do_not_answer_fail_no_run",
    ),
    "how a run ended": (
        "plans/safety/test_plan_faults.py::test_every_end_is_safe",
        "viewers/test_progress.py::test_ends",
    ),
    "one run at a time": ("session/test_session.py::test_a_second_plan_is_refused_while_one_runs",),
    "progress over acquisitions and frames": (
        "viewers/test_progress.py::test_a_tomography",
        "devices/camera/test_camera.py::test_a_stream_of_frames",
    ),
    "acquire into the camera's memory, read out later": (
        "plans/stubs/test_readout_later.py::test_the_beam_goes_off_when_all_is_recorded_and_then_it_is_read_out",
        "plans/stubs/test_readout_later.py::test_every_stream_is_recorded_first",
        "devices/camera/test_buffered_camera.py::test_frames_are_recorded_and_then_read_out",
    ),
    "the next sample moves in while the last one is read out": (
        "plans/series/test_for_each.py::test_the_next_sample_moves_in_while_the_last_is_read_out",
        "plans/stubs/test_readout_later.py::test_the_next_sample_moves_in_while_it_is_read_out",
        "plans/series/test_for_each.py::test_overlap_saves_the_time_of_the_move",
    ),
}

EXPERIMENTS = {
    "monochromators, lens changers, detector stages, rings, pumps and other kinds, over any signals": (
        "devices/kinds/test_kinds.py::test_any_signal_tells_in_the_unit_of_the_kind",
        "devices/kinds/test_kinds.py::test_an_instrument_tells_what_its_kind_has",
        "devices/kinds/test_real_signals.py::test_a_scan_knows_its_optics_from_a_control_system",
    ),
    "a shutter and a tube": (
        "plans/stubs/test_sequences.py::test_actions_and_their_order",
        "devices/test_beam.py::test_switching",
        "devices/test_beam.py::test_a_tube_needs_time_to_come_on_and_none_to_go_off",
    ),
    "local and remote data": (
        "servers/test_remote_session.py::test_a_remote_run_gives_the_local_answer",
    ),
    "numbers of darks, flats and projections": (
        "plans/core/test_defaults.py::test_numbers_of_frames",
        "plans/stubs/test_sequences.py::test_every_frame_is_described_stored_and_accounted_for",
    ),
    "radio and flat position, of a linear or a rotary stage": (
        "plans/core/test_defaults.py::test_what_must_be_said",
        "plans/core/test_any_device.py::test_a_rotary_sample_stage",
        "plans/stubs/test_sequences.py::test_actions_and_their_order",
    ),
    "angular range and start angle": (
        "plans/core/test_defaults.py::test_angles",
        "plans/stubs/test_sequences.py::test_stepped_angles_leave_out_the_end",
        "plans/stubs/test_sequences.py::test_a_turn_backwards",
    ),
    "vertical start, shift and height of a spiral": (
        "plans/core/test_defaults.py::test_what_must_be_said",
        "plans/geometry/test_spiral_tomography.py::test_sequence_of_a_stepped_spiral",
        "plans/geometry/test_spiral_tomography.py::test_a_vertical_stage_in_another_unit",
    ),
    "period and first position of a grating": (
        "plans/core/test_defaults.py::test_what_must_be_said",
        "plans/test_grating_stepping.py::test_sequence",
        "plans/test_grating_stepping.py::test_a_grating_on_a_motor_in_mm",
    ),
    "periods and steps of a grating": (
        "plans/core/test_defaults.py::test_gratings",
        "plans/test_grating_stepping.py::test_sequence",
    ),
    "propagation distance, for the phase in radians": (
        "plans/test_grating_stepping.py::test_contrasts_are_those_of_the_twin_live_and_replayed",
        "plans/test_grating_stepping.py::test_without_a_distance_there_is_no_refraction_angle",
    ),
    "formula: angular step of a width": (
        "plans/geometry/test_formulas.py::test_the_step_moves_the_edge_by_a_pixel",
    ),
    "formula: projections that a width needs": (
        "plans/geometry/test_formulas.py::test_projections_that_sample_the_edge",
    ),
    "formula: greatest speed": ("plans/geometry/test_formulas.py::test_the_greatest_speed",),
    "formula: stepped angles without the end": (
        "plans/stubs/test_sequences.py::test_stepped_angles_leave_out_the_end",
    ),
    "formula: velocity of a continuous scan": (
        "plans/stubs/test_sequences.py::test_the_documents_of_a_run",
        "plans/stubs/test_sequences.py::test_continuous_frames_see_the_angles_they_are_said_to_see",
    ),
    "formula: tomograms of a spiral, vertical step and velocity": (
        "plans/geometry/test_spiral_tomography.py::test_sequence_of_a_stepped_spiral",
        "plans/geometry/test_spiral_tomography.py::test_sequence_of_a_continuous_spiral",
        "plans/geometry/test_spiral_tomography.py::test_a_fraction_of_a_tomogram_is_taken",
    ),
    "formula: steps and frames of a grating": ("plans/test_grating_stepping.py::test_sequence",),
    "sequence: darks, flats, projections": (
        "plans/stubs/test_sequences.py::test_actions_and_their_order",
        "plans/stubs/test_sequences.py::test_stage_and_rotation_set_out_together",
        "plans/stubs/test_sequences.py::test_what_the_camera_sees",
    ),
    "sequence: stepped": ("plans/stubs/test_sequences.py::test_actions_and_their_order",),
    "sequence: continuous": ("plans/stubs/test_sequences.py::test_actions_and_their_order",),
    "sequence: spiral, stepped and continuous": (
        "plans/geometry/test_spiral_tomography.py::test_sequence_of_a_stepped_spiral",
        "plans/geometry/test_spiral_tomography.py::test_sequence_of_a_continuous_spiral",
    ),
    "sequence: grating with and without the sample": (
        "plans/test_grating_stepping.py::test_sequence",
    ),
    "every experiment at both sources, stepped and continuous, gives the sample": (
        "plans/test_every_plan.py::test_an_experiment",
        "plans/test_every_plan.py::test_a_grating",
    ),
    "every experiment ends safely and refuses what cannot work": (
        "plans/test_coverage.py::test_no_plan_is_forgotten",
    ),
}

CONSUMERS = {
    "bytes and duration of each acquisition": ("consumers/test_consumers.py::test_benchmarker",),
    "images into files": ("consumers/test_image_writer.py::test_every_frame_reads_back_equal",),
    "a live view": ("callbacks/test_live_view.py::test_a_run_and_its_replay",),
    "a function of the user's": ("consumers/test_consumers.py::test_a_function_of_the_users",),
    "frames in memory": ("consumers/test_consumers.py::test_accumulator_keeps_what_was_stored",),
    "reconstruction while frames arrive": (
        "callbacks/reconstruction/test_online_reconstruction.py::test_live_equals_replay_and_batch",
        "callbacks/reconstruction/test_online_reconstruction.py::test_previews_come_while_projections_arrive",
    ),
    "contrasts of a grating": (
        "plans/test_grating_stepping.py::test_contrasts_are_those_of_the_twin_live_and_replayed",
    ),
    "frame numbers without a gap": (
        "callbacks/alarms/test_scan_alarms.py::test_frames_that_the_camera_lost",
        "callbacks/alarms/test_scan_alarms.py::test_frame_numbers_that_must_begin_with_one",
    ),
    "attached to some acquisitions only": (
        "consumers/test_image_writer.py::test_only_some_streams_are_stored_when_told",
    ),
    "attached and detached between runs": (
        "session/test_session.py::test_an_unsubscribed_callback_hears_nothing",
    ),
}

PROCESSES = {
    "live image with colour limits, histogram, refresh rate and pause": (
        "viewers/browser/test_in_browser.py::test_controls",
        "viewers/browser/test_colours_and_values.py::test_colours_of_limits",
        "viewers/browser/test_colours_and_values.py::test_a_histogram_of_integers_counts_each_pixel_once",
    ),
    "live image made smaller": (
        "viewers/test_picture.py::test_every_nth_row_and_every_nth_column",
        "viewers/test_state.py::test_only_the_newest_frame_of_each_camera_is_kept",
    ),
    "curves": ("plans/alignment/test_scans.py::test_the_curve_of_a_scan_is_plotted_as_it_comes",),
    "an experiment at each position of a grid": (
        "plans/series/test_for_each.py::test_a_grid_of_positions",
    ),
    "an experiment with each sample of a changer": (
        "plans/series/test_for_each.py::test_a_sample_changer",
    ),
    "an experiment for each item of the user's": (
        "plans/series/test_for_each.py::test_each_iteration_is_a_run_of_its_own",
    ),
    "a series that pauses and resumes": (
        "plans/series/test_for_each.py::test_pause_between_iterations_and_resume",
    ),
    "a scan of any number of motors": (
        "plans/alignment/test_scans.py::test_scan_covers_a_grid_with_any_measures",
        "plans/alignment/test_scans.py::test_three_motors_move_together",
        "plans/alignment/test_scans.py::test_ascan_reads_a_function_of_the_frame_at_each_point",
    ),
    "a scan from where the motors are": (
        "plans/alignment/test_scans.py::test_dscan_is_relative_and_returns",
    ),
    "focus": (
        "plans/alignment/test_focus.py::test_the_focus_is_found_within_its_depth",
        "plans/alignment/test_focus.py::test_a_flat_curve_and_an_end_are_refused_and_the_stage_returns",
    ),
    "the rotation axis upright, by a ball or a needle, in five iterations": (
        "plans/alignment/test_rotation_axis.py::test_the_axis_is_brought_upright",
        "reconstruction/analysis/test_alignment.py::test_the_tilt_is_found",
    ),
    "the rotation axis from views half a turn apart": (
        "plans/alignment/test_rotation_axis.py::test_the_axis_is_found_within_a_third_of_a_pixel",
        "reconstruction/analysis/test_alignment.py::test_the_axis_is_between_opposite_views",
    ),
    "closed loops": (
        "plans/alignment/test_closed_loop.py::test_it_measures_compares_and_controls_until_it_is_right",
        "plans/alignment/test_closed_loop.py::test_the_live_reconstruction_brings_the_axis_to_the_middle",
    ),
    "every process ends safely": ("plans/safety/test_process_faults.py::test_every_end_is_safe",),
}

BEYOND = {
    "a scan checked beforehand": (
        "plans/rehearsal/test_preflight.py::test_figures_of_a_continuous_scan",
        "plans/rehearsal/test_preflight.py::test_the_estimate_is_near_the_truth",
        "plans/rehearsal/test_preflight.py::test_blur_is_warned_about_or_refused",
        "plans/rehearsal/test_preflight.py::test_plans_of_bluesky_and_of_the_users_own",
    ),
    "a sample wider than the frame": (
        "plans/geometry/test_half_acquisition.py::test_the_slice_is_the_phantom_over_the_double_width",
    ),
    "exposures started by software, by pulses or by a trigger device": (
        "plans/stubs/test_triggers.py::test_the_same_reconstruction_by_software_by_edges_and_with_a_device",
        "plans/stubs/test_triggers.py::test_pulses_that_do_not_come_end_the_scan",
        "plans/stubs/test_triggers.py::test_every_end_with_a_trigger_device_is_safe",
        "devices/control_systems/panda/test_panda_trigger.py::test_it_is_a_trigger_device",
    ),
    "several turns that interlace": (
        "plans/stubs/test_triggers.py::test_several_turns_at_the_cameras_pace",
        "plans/stubs/test_triggers.py::test_timbir_by_positions",
    ),
    "frames from before an event": (
        "plans/stubs/test_retrospective.py::test_frames_around_the_trigger_with_their_true_times_and_numbers",
        "plans/stubs/test_retrospective.py::test_a_signal_fires",
        "plans/stubs/test_retrospective.py::test_a_change_of_the_image_fires_with_the_time_of_the_frame",
        "frames/test_held.py::test_what_is_published_comes_as_if_nothing_else_had_been",
    ),
    "alarms in a scan, the same in its replay": (
        "callbacks/alarms/test_scan_alarms.py::test_saturation_live_replayed_logged_and_stored",
        "callbacks/alarms/test_scan_alarms.py::test_flats_that_drift",
        "callbacks/alarms/test_scan_alarms.py::test_a_sample_that_moves",
        "callbacks/alarms/test_scan_alarms.py::test_frames_that_the_camera_lost",
    ),
    "a beam loss pauses the scan, and its frames are taken again": (
        "plans/run/test_alarm_pauses.py::test_the_frames_of_the_dip_are_taken_again",
        "plans/run/test_alarm_pauses.py::test_the_reconstruction_is_that_of_an_undisturbed_scan",
        "plans/run/test_alarm_pauses.py::test_abort_while_paused_is_safe",
        "plans/run/test_alarm_pauses.py::test_no_run_begins_while_a_suspender_is_tripped",
    ),
    "a scan that is paused, and takes only what is missing or spoiled": (
        "plans/run/test_pause.py::test_a_scan_takes_after_a_pause_what_is_missing",
        "plans/run/test_pause.py::test_spoiled_frames_are_taken_again",
        "session/test_pause.py::test_a_deferred_pause_of_the_run_engine",
    ),
    "a run that broke off is resumed": (
        "plans/run/test_resume.py::test_a_broken_run_is_continued",
        "plans/run/test_resume.py::test_a_session_that_was_killed_is_continued_in_another",
        "plans/run/test_resume.py::test_the_reconstruction_is_that_of_an_unbroken_scan",
    ),
}

REMOTE = {
    "every image arrives at each consumer": (
        "frames/contract/delivery.py::test_several_subscribers_get_every_frame_each",
        "frames/contract/delivery.py::test_every_frame_arrives_once_and_in_order",
        "frames/processes/test_processes.py::test_frames_reach_another_process",
    ),
    "only the newest image, for a live view": (
        "frames/contract/delivery.py::test_latest_gets_the_newest_frame_only",
    ),
    "one stream for many, and into another network": (
        "frames/sockets/test_routes.py::test_a_route_is_taken_and_what_is_encrypted_passes_as_it_is",
        "servers/test_strangers.py::test_a_writer_whose_way_leads_to_another_program_says_so_and_serves_the_next_run",
    ),
    "servers without a Tango database for camera, writer, reconstruction and benchmark": (
        "servers/test_remote_session.py::test_a_remote_run_gives_the_local_answer",
        "servers/test_remote_session.py::test_software_triggers_reach_a_remote_camera",
        "servers/test_remote_session.py::test_the_status_command_says_what_servers_do",
    ),
    "a server for the user's own camera class": (
        "servers/test_cameras_of_others.py::test_a_camera_class_by_entry_point_with_a_command_that_takes_long",
    ),
    "cancelling the session cancels the servers": (
        "servers/test_cameras_of_others.py::test_aborting_the_session_ends_the_run_at_the_servers",
        "servers/test_remote_session.py::test_the_death_of_the_session_returns_the_servers_to_standby",
    ),
    "the directories are the writer's, and are read back": (
        "servers/test_remote_session.py::test_a_remote_run_gives_the_local_answer",
        "servers/test_network.py::test_a_run_across_three_hosts",
    ),
    "one session at a time, and the other is told who": (
        "servers/test_remote_session.py::test_a_second_session_is_refused_and_told_who",
        "servers/test_cameras_of_others.py::test_a_camera_class_by_entry_point_with_a_command_that_takes_long",
    ),
    "streams of none, one, many and huge frames": (
        "frames/contract/end.py::test_a_stream_of_no_frames_ends",
        "frames/contract/end.py::test_a_stream_of_one_frame_ends",
        "frames/contract/volume.py::test_a_hundred_thousand_tiny_frames",
        "frames/contract/volume.py::test_frames_of_a_hundred_megabytes_through_two_slots",
    ),
    "a subscriber that joins late, dies, hangs or is cut off": (
        "frames/contract/delivery.py::test_a_subscriber_may_join_late_while_the_first_frame_is_held",
        "frames/processes/test_processes.py::test_a_killed_subscriber_resumes_when_it_is_started_again",
        "frames/processes/test_processes.py::test_a_subscriber_that_stops_for_too_long_is_told",
        "frames/sockets/test_connections.py::test_a_line_that_is_cut_in_mid_stream_loses_nothing",
    ),
    "the line is encrypted when asked": (
        "frames/sockets/test_keys.py::test_what_crosses_the_line_cannot_be_read",
    ),
    "two cameras": (
        "plans/test_several_cameras.py::test_each_camera_has_its_streams_and_its_frames",
        "plans/test_several_cameras.py::test_each_is_reconstructed_live_replayed_and_from_the_files",
    ),
}

# What the predecessor does wrong, and the tests that show that it is gone.
FAULTS = {
    "1: a consumer that fails leaves the camera recording and the shutter open": (
        "callbacks/test_faults.py::test_a_full_disk_ends_the_run_and_what_was_acknowledged_is_readable",
        "callbacks/test_faults.py::test_a_writer_that_raises_ends_the_run",
        "callbacks/test_faults.py::test_a_reconstruction_that_fails_costs_no_scan_unless_it_is_necessary",
    ),
    "2: flats last, or a failure in them, leave the shutter open": (
        "plans/stubs/test_sequences.py::test_actions_and_their_order",
        "plans/safety/test_plan_faults.py::test_every_end_is_safe",
    ),
    "3: no frame is counted, checked or synced": (
        "frames/contract/end.py::test_the_ledger_has_a_line_for_each_party",
        "frames/contract/faults.py::test_other_bytes_than_were_published_are_told",
        "storage/runs/test_run.py::test_a_changed_frame_is_found",
        "storage/formats/test_image_sink.py::test_sync_and_close",
    ),
    "4: a reliable broadcast loses frames when a consumer stalls": (
        "frames/contract/flow.py::test_a_slow_subscriber_slows_the_publisher",
        "frames/processes/test_processes.py::test_a_subscriber_that_stops_for_a_while_goes_on",
        "frames/test_fault_runs.py::test_every_frame_is_accounted_for_whatever_fails",
    ),
    "5: a second stream right after the first is swallowed": (
        "frames/contract/end.py::test_two_streams_follow_each_other_at_once",
    ),
    "6: the slowest local consumer paces the camera, files are written in the event loop": (
        "frames/contract/delivery.py::test_latest_never_slows_the_publisher",
        "session/test_session.py::test_a_slow_disk_does_not_hold_up_the_loop",
        "callbacks/test_live_view.py::test_it_is_light_on_the_thread_of_the_run_engine",
    ),
    "7: missing projections or a dead camera make others wait for ever": (
        "reconstruction/test_streaming.py::test_lost_projections_are_named_and_weighted",
        "callbacks/test_faults.py::test_a_camera_that_dies_ends_the_run",
        "frames/processes/test_processes.py::test_the_death_of_the_publisher_is_noticed",
        "servers/test_remote_session.py::test_a_killed_camera_server_ends_the_run_with_the_beam_off",
    ),
    "8: an error while finishing hides the one that caused it": (
        "plans/safety/test_plan_faults.py::test_a_second_fault_while_cleaning_up",
        "frames/contract/faults.py::test_one_failure_does_not_hide_behind_another",
    ),
    "9: every value in the metadata is a string": (
        "session/test_session.py::test_baseline_devices_are_read_at_both_ends",
        "plans/stubs/test_sequences.py::test_the_documents_of_a_run",
    ),
    "10: a remote acquisition lasts no longer than a command may": (
        "servers/test_cameras_of_others.py::test_a_camera_class_by_entry_point_with_a_command_that_takes_long",
    ),
    "11: a writer that is stopped, frozen or orphaned, a viewer that dies": (
        "servers/test_remote_session.py::test_a_killed_writer_ends_the_run_with_the_beam_off",
        "servers/test_cameras_of_others.py::test_a_frozen_writer_ends_the_run_with_the_beam_off",
        "servers/test_remote_session.py::test_the_death_of_the_session_returns_the_servers_to_standby",
        "callbacks/test_live_view.py::test_a_view_that_dies_does_not_touch_the_run",
    ),
    "12: each experiment exists four times": (
        "servers/test_remote_session.py::test_a_remote_run_gives_the_local_answer",
        "plans/stubs/test_sequences.py::test_actions_and_their_order",
    ),
}

SECTIONS = {
    "runs": RUNS,
    "experiments": EXPERIMENTS,
    "consumers": CONSUMERS,
    "remote data": REMOTE,
    "faults": FAULTS,
    "viewers, directors, processes": PROCESSES,
    "beyond": BEYOND,
}
ROWS = [
    pytest.param(tests, id=f"{section}: {row}")
    for section, rows in SECTIONS.items()
    for row, tests in rows.items()
]


@cache
def names_in(path: str) -> frozenset[str]:
    """Return the names of the tests in a file."""
    tree = ast.parse((HERE / path).read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, functions))


@pytest.mark.parametrize("tests", ROWS)
def test_the_tests_exist(tests: tuple[str, ...]) -> None:
    assert tests
    for test in tests:
        path, _, name = test.partition("::")
        assert name.startswith("test_")
        assert name in names_in(path), f"{test} is gone: name the test that shows this now"
