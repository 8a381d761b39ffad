"""Each row of the fault model (F01-F131), and who makes it: the tiers here, a directed test, or nobody yet and why.

here:  names of faults, troubles and counters of the tiers, which the coverage gate counts.
tests: `file::test` beneath tests/, that checks the row where it can be made better than here.
later: what the row waits for; the room it belongs to is not built, or another tier will make it.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ROWS", "Row"]


@dataclass(frozen=True, slots=True)
class Row:
    here: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    later: str = ""


_CONTRACT = "client/transports/test_contract.py"
_TRUST = "client/transports/test_trust.py"
_GATEWAY = "trading/test_gateway.py"
_GROUPS = "trading/test_groups.py"
_SALE = "trading/test_sale_dangers.py"
_STREAM = "client/test_stream.py"
_LINES = "client/test_market_lines.py"
_ANSWERS = "wire/test_order_answers.py"
_SIGN_INS = "conformance/test_sign_ins.py"
_JOURNAL = "store/test_journal_faults.py"
_CLIENT = "client/test_client.py"
_POWER = "chaos/test_power.py"
_SERVICE = "the service (HTTP API, workers) is not built"
_SYNC = "the portfolio sync is not built"
_POSTGRES = "tier P: the journal is SQLite so far"


def _here(*names: str, tests: tuple[str, ...] = (), later: str = "") -> Row:
    return Row(names, tests, later)


def _test(*tests: str) -> Row:
    return Row(tests=tests)


def _later(why: str) -> Row:
    return Row(later=why)


ROWS: dict[str, Row] = {
    "F01": _here("dns failure"),
    "F02": _here("connection refused", "read refused"),
    "F03": _here("connect black hole"),
    "F04": _here(
        "tls failure", tests=(f"{_TRUST}::test_a_gateway_certificate_is_pinned_at_first_use_and_a_change_is_refused",)
    ),
    "F05": _later("the warning two weeks ahead belongs to the doctor of the service"),
    "F06": _here(
        "no free connection",
        "error RateLimited",
        tests=(f"{_CLIENT}::test_an_order_that_had_to_wait_too_long_does_not_leave",),
    ),
    "F07": _here("request lost"),
    "F08": _here("answer lost"),
    "F09": _here("reset in the request"),
    "F10": _here("answer cut", "read cut"),
    "F11": _here("peer stalls", "read stalls"),
    "F12": _here(
        "one byte a second",
        tests=(f"{_CONTRACT}::test_the_time_limit_is_of_the_whole_exchange_and_the_connection_is_not_used_again",),
    ),
    "F13": _here("late delivery"),
    "F14": _here(
        "answer of an earlier call",
        tests=("client/test_conversations.py::test_a_question_that_was_asked_before_is_an_answer_to_nobody",),
    ),
    "F15": _here("redirect"),
    "F16": _here("html, not carried out", "html, carried out", "read html"),
    "F17": _here("endless body", tests=(f"{_CONTRACT}::test_an_endless_body_is_cut_off",)),
    "F18": _here("empty 200"),
    "F19": _here("500, not accepted", "read 500"),
    "F20": _here("500, accepted"),
    "F21": _here("503, not accepted", "503, accepted"),
    "F22": _here("429, not accepted", "429, accepted"),
    "F23": _here("pacing", tests=(f"{_CLIENT}::test_three_refusals_for_pacing_stop_everything_for_ten_minutes",)),
    "F24": _here("401, not accepted", "401, accepted", "read 401"),
    "F25": _later("numbered hosts are chosen by the settings; moving on by itself is not built"),
    "F26": _here("400 no bridge"),
    "F27": _here("400, yet placed", "400, placed later"),
    "F28": _here("403, not accepted", "403, accepted"),
    "F29": _here("refusal in the answer"),
    "F30": _here("registered, 200"),
    "F31": _here("unknown shape", "two rows", "null"),
    "F32": _here("ack of another account", "ack of another ref", "ack without id"),
    "F33": _here("unknown status"),
    "F34": _here("end acked", tests=(f"{_GATEWAY}::test_a_known_question_is_answered_once_directly_after_the_order",)),
    "F35": _here("end rejected_policy", tests=(f"{_GATEWAY}::test_an_unknown_question_is_declined_and_told",)),
    "F36": _here("chain of questions"),
    "F37": _here(
        "chain that never ends",
        "endless chain",
        tests=(f"{_GATEWAY}::test_five_questions_are_answered_and_a_sixth_is_declined",),
    ),
    "F38": _here("two question objects", "messages together"),
    "F39": _here("reply expired, 400", "reply expired, 503"),
    "F40": _here("reply worked, 400"),
    "F41": _here("late delivery of a reply"),
    "F42": _here(
        "twins",
        "error InFlight",
        tests=(f"{_GATEWAY}::test_an_order_parked_behind_a_lost_reply_is_unknown_and_blocks_other_confirmations",),
    ),
    "F43": _here("question in ten kilobytes of HTML"),
    "F44": _here(
        "reset",
        tests=("client/test_conversations.py::test_a_session_whose_suppressions_failed_is_not_ready_for_orders",),
    ),
    "F45": _here("K9", "K10"),
    "F46": _here("fill before the ack"),
    "F47": _here("end cancelled", "fill races a cancel"),
    "F48": _here("end rejected_late"),
    "F49": _here("fill races a cancel"),
    "F50": _here("answer lost", "request lost", tests=(f"{_GATEWAY}::test_a_lost_cancel_is_carried_through",)),
    "F51": _here(
        "executions twice, corrected, shuffled",
        tests=("client/test_order_view.py::test_an_execution_is_told_once_and_once_more_with_its_fee",),
    ),
    "F52": _here(
        "bracket-child-reject",
        "bracket-refused",
        "row Mended",
        tests=(
            f"{_GROUPS}::test_a_refused_child_of_an_unfilled_parent_takes_the_parent_with_it",
            "journeys/test_sale.py::test_a_refused_stop_ends_with_the_position_bought_back",
        ),
    ),
    "F53": _here(
        "flattened",
        tests=(
            f"{_GROUPS}::test_what_a_broken_bracket_has_filled_without_a_stop_is_closed",
            f"{_SALE}::test_what_fills_after_the_first_stop_gets_a_stop_of_its_own",
        ),
    ),
    "F54": _here("oca-sibling-stays", "oca-both-fill"),
    "F55": _here("two rows with our ref"),
    "F56": _here(
        "overnight",
        tests=(
            f"{_GATEWAY}::test_a_day_order_that_ended_unwatched_is_ended_in_the_journal",
            f"{_GATEWAY}::test_a_good_till_cancelled_order_is_not_ended_because_a_day_went_by",
        ),
    ),
    "F57": _here("taken"),
    "F58": _here("beside", "error InFlight"),
    "F59": _test("client/test_keeper.py::test_an_outage_of_the_network_is_no_lost_session"),
    "F60": _test("client/test_keeper.py::test_each_status_object_is_one_event"),
    "F61": _here(
        "short tokens",
        tests=(f"{_SIGN_INS}::test_a_token_past_four_fifths_of_its_life_is_renewed_once_before_the_next_call",),
    ),
    "F62": _here(
        "proof", tests=("client/test_auth_oauth1.py::test_a_token_that_the_server_does_not_prove_is_thrown_away",)
    ),
    "F63": _here("reset"),
    "F64": _here("maintenance", "read 503"),
    "F65": _here("logout", "relogin"),
    "F66": _here("account"),
    "F67": _here(
        "signature",
        "date",
        tests=("client/test_auth_oauth1.py::test_each_handshake_has_an_exponent_and_a_nonce_of_its_own",),
    ),
    "F68": Row(later=_SERVICE, tests=(f"{_SIGN_INS}::test_many_callers_who_meet_a_401_share_one_renewal",)),
    "F69": _here("empty, no snapshot"),
    "F70": _here("read lost"),
    "F71": _here("list cut"),
    "F72": _here("lists of the session"),
    "F73": _here("lists of the session"),
    "F74": _here("refs misspelt"),
    "F75": _here("executions late"),
    "F76": _here("rows of another account"),
    "F77": _here("read 429"),
    "F78": _here("registered, nothing there"),
    "F79": _here("silent stall", "quotes alone silent"),
    "F80": _here(
        "socket dropped",
        "socket closed",
        "frames lost",
        "upgrade refused",
        "read of trades lost",
        "read of orders refused",
    ),
    "F81": _here("frames swapped", "ticks swapped"),
    "F82": _here("frames twice", "ticks twice"),
    "F83": _here("garbage", "binary noise", "unknown topics"),
    "F84": _here("slow listener", tests=(f"{_STREAM}::test_a_slow_listener_to_orders_loses_nothing",)),
    "F85": _test(f"{_STREAM}::test_resubscription_after_an_outage_is_paced"),
    "F86": _here("says unauthenticated"),
    "F87": _here("quote of nobody"),
    "F88": _test(
        f"{_LINES}::test_prefixed_prices_are_known_as_such", f"{_LINES}::test_a_number_that_is_none_counts_for_nothing"
    ),
    "F89": _here(*(f"K{number}" for number in range(1, 15))),
    "F90": _test(f"{_GATEWAY}::test_a_cancelled_caller_leaves_a_settled_order"),
    "F91": _here(
        "process stopped", tests=(f"{_GATEWAY}::test_a_process_that_slept_between_row_and_bytes_does_not_send",)
    ),
    "F92": _here("disk full"),
    "F93": _here(
        "disk busy", tests=(f"{_JOURNAL}::test_a_journal_that_another_program_holds_takes_nothing_until_it_lets_go",)
    ),
    "F94": _here(
        "disk fsync lost",
        "disk fsync kept",
        tests=(f"{_JOURNAL}::test_a_fault_at_any_write_of_an_order_leaves_what_was_stored_before_it",),
    ),
    "F95": _test(f"{_JOURNAL}::test_a_damaged_file_is_named_and_never_made_anew"),
    "F96": _test(
        f"{_POWER}::test_with_full_no_row_that_was_committed_is_lost",
        f"{_POWER}::test_with_normal_the_shim_takes_rows_away",
    ),
    "F97": Row(("disk fsync kept",), (), f"{_POSTGRES}; a commit of unknown outcome is made here"),
    "F98": _here("K5", "K6"),
    "F99": _here("no descriptors left", "disk no descriptors"),
    "F100": _here(
        "journal restored",
        tests=("store/test_mark.py::test_an_older_copy_is_noticed_at_the_next_start_and_at_every_one_after_it",),
    ),
    "F101": _here("wall clock set"),
    "F102": _here("overnight", tests=("sim/test_calendar.py::test_summer_time_moves_the_hours_in_utc",)),
    "F103": _later(_SERVICE),
    "F104": _here("beside", "twins"),
    "F105": _here(
        "lane taken over",
        "error Fenced",
        tests=("store/test_journal_faults.py::test_a_lane_that_lost_its_file_is_still_fenced",),
    ),
    **{f"F{number}": _later(_SERVICE) for number in (106, 107, 108)},
    **{f"F{number}": _later(_SYNC) for number in range(109, 116)},
    "F116": _here(
        "K9",
        tests=(
            "journeys/test_troubles.py::test_an_order_whose_question_was_lost_is_left_to_a_person_and_never_sent_again",
        ),
    ),
    "F117": _here("release of parked orders"),
    "F118": _here("decline lost"),
    "F119": _here(
        "registered, 400", tests=(f"{_ANSWERS}::test_already_registered_is_never_a_refusal_under_any_status",)
    ),
    "F120": _here("row Grouped", tests=(f"{_ANSWERS}::test_our_row_is_found_by_ref_not_by_index",)),
    "F121": _here("bracket-refused"),
    "F122": _test(f"{_STREAM}::test_orders_that_were_there_before_are_told_first"),
    "F123": _test("client/test_order_view.py::test_a_fill_that_only_one_topic_told_of_is_a_doubt_until_the_other_does"),
    "F124": _test(f"{_ANSWERS}::test_only_ibkrs_own_words_refuse_a_cancel"),
    "F125": _here("late greeting"),
    "F126": _test(f"{_STREAM}::test_market_data_is_renewed_before_its_silent_end"),
    "F127": _here("orders alone silent", "trades alone silent"),
    "F128": _here("Live"),
    "F129": _here("pacing"),
    "F130": _here("questions"),
    "F131": _here("prompt p12", tests=(f"{_ANSWERS}::test_an_advanced_reject_is_a_refusal_that_names_its_prompt",)),
}
