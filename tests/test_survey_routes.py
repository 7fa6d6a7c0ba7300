"""The participants' HTTP interface: the whole way through, what is refused, what is kept."""

from pathlib import Path

from tests.survey_study import tiny


def test_the_whole_way_through(tmp_path: Path) -> None:
    survey = tiny(tmp_path)
    visitor = survey.visitor().open("PANEL-17")
    state = visitor.state
    assert (state["participant"], state["generation"], state["complete"]) == ("PANEL-17", 0, False)
    assert [trial["number"] for trial in state["trials"]] == [0, 1, 2]
    visitor.prepare().rank_all()
    assert visitor.finish() == {"code": "DONE", "url": "", "thanks": "Thank you."}
    again = visitor.client.get("/survey/api/state").json()
    assert again["complete"]
    assert again["finish"]["code"] == "DONE"
    assert all(all(trial["answered"].values()) for trial in again["trials"])
