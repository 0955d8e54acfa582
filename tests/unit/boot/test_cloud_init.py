import json

import pytest

from kmi.boot.checks.cloud_init import judge, judge_console, judge_ignition
from kmi.boot.console import GaveUp

SEED = "DataSourceNoCloud [seed=/dev/vdb][dsmode=net]"
FINISHED = (
    f"[   50.1] cloud-init[600]: Cloud-init v. 22.4.2 finished at Thu, 20 Nov 2026. Datasource {SEED}.  Up 50 seconds\n"
)


def record(errors: list[str], source: str = SEED) -> str:
    return json.dumps({"v1": {"datasource": source, "errors": errors}})


def test_a_clean_record_passes():
    assert judge(record([])) == f"finished without errors from {SEED}"


def test_errors_fail():
    with pytest.raises(GaveUp, match="scripts_user"):
        judge(record(["('scripts_user', RuntimeError('Runparts: 1 failures'))"]))


def test_another_data_source_fails():
    with pytest.raises(GaveUp, match="DataSourceNone"):
        judge(record([], "DataSourceNone"))


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"v1": {"errors": []}}', "cat: no such file"])
def test_anything_else_is_no_record(text):
    with pytest.raises(GaveUp, match="not what cloud-init writes"):
        judge(text)


def test_the_console_without_the_final_message_says_nothing_yet():
    assert judge_console("cloud-init[300]: Cloud-init v. 22.4.2 running 'init'\n") is None


def test_the_console_with_the_final_message_passes():
    assert "console only" in (judge_console(FINISHED) or "")


def test_trouble_on_the_console_fails():
    with pytest.raises(GaveUp, match="Failed to run module"):
        judge_console("cloud-init[500]: 2026 - util.py[WARNING]: Failed to run module scripts_user\n" + FINISHED)


def test_another_data_source_on_the_console_fails():
    with pytest.raises(GaveUp, match="did not use"):
        judge_console(FINISHED.replace("DataSourceNoCloud", "DataSourceNone"))


DRIVE = "DataSourceConfigDrive [net,ver=2][source=/dev/vdb]"


def test_the_config_drive_counts_where_it_was_the_seed_and_only_there():
    source = "DataSourceConfigDrive"
    assert DRIVE in judge(record([], DRIVE), source)
    assert judge_console(FINISHED.replace(SEED, DRIVE), source)
    for text, expected in ((record([], DRIVE), "DataSourceNoCloud"), (record([]), source)):
        with pytest.raises(GaveUp, match=f"did not use the seed \\({expected}\\)"):
            judge(text, expected)
    with pytest.raises(GaveUp, match="did not use the seed"):
        judge_console(FINISHED, source)


IGNITED = '{"provisioningBootID": "d8-5", "provisioningDate": "2026-03-04T16:49:02Z", "userConfigProvided": true}\n\n'


def test_ignition_with_a_configuration_passes():
    assert "config drive" in judge_ignition(IGNITED)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (IGNITED.replace("true", "false"), "found no configuration"),
        (IGNITED.replace("true", '"true"'), "found no configuration"),
        (IGNITED.replace("true", 'true, "previousReport": {}'), "ran before"),
        (IGNITED + "ignition-delete-config.service loaded failed failed Ignition (delete config)\n", "ignition-delete"),
        ("", "not what Ignition writes"),
        ("cat: /etc/.ignition-result.json: No such file or directory", "not what Ignition writes"),
        ("[]", "not what Ignition writes"),
        ("{}", "not what Ignition writes"),
        ("[" * 100_000, "not what Ignition writes"),
    ],
)
def test_ignition_without_one_or_with_trouble_fails(said, words):
    with pytest.raises(GaveUp, match=words):
        judge_ignition(said)
