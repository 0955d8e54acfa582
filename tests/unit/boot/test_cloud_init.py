import json

import pytest

from kmi.boot.checks.cloud_init import judge, judge_console
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
