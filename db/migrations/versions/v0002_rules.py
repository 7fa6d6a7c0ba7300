"""The rules that constraints cannot say, as triggers: what is never changed, and when a response is current."""

from alembic import op

revision = "0002"
down_revision = "0001"

# Rows of these are added, never changed and never deleted.
ADDED = (
    "consent",
    "background",
    "screening",
    "trial",
    "trial_item",
    "rank_item",
    "playback_event",
    "exclusion",
    "audit",
)
KEPT = ("study", "participant", "session", "response")
# What a version is made of; fixed once there is a session. Of slots there can be more.
PARTS = ("system", "piece", "direction", "criterion", "stimulus")

FIXED_IN_RESPONSE = (
    "id",
    "session_id",
    "trial_id",
    "version_id",
    "criterion_id",
    "revision",
    "submission",
    "digest",
    "receipt_json",
    "elapsed_ms",
    "created_at",
)
FIXED_IN_SESSION = ("id", "public", "participant_id", "study_id", "version_id", "slot_id", "mode", "created_at")

PARTIAL = "a response is current only with a full ranking, 1 to k without a tie or a gap"
IN_USE = "a version that has sessions is not changed"

# All ranks are there and the last is k: together with the unique constraints that is a permutation 1..k.
IS_PERMUTATION = """
    (SELECT count(*) FROM rank_item WHERE response_id = NEW.id)
        = (SELECT count(*) FROM system WHERE version_id = NEW.version_id)
    AND (SELECT count(*) FROM rank_item WHERE response_id = NEW.id)
        = (SELECT count(*) FROM trial_item WHERE trial_id = NEW.trial_id)
    AND (SELECT max(rank) FROM rank_item WHERE response_id = NEW.id)
        = (SELECT count(*) FROM trial_item WHERE trial_id = NEW.trial_id)
    AND (SELECT min(rank) FROM rank_item WHERE response_id = NEW.id) = 1
"""


def _changed(columns: tuple[str, ...]) -> str:
    return " OR ".join(f"OLD.{name} IS DISTINCT FROM NEW.{name}" for name in columns)


def upgrade() -> None:
    """Add the triggers."""
    if op.get_bind().dialect.name == "sqlite":
        _sqlite()
    else:
        _postgresql()


def _sqlite() -> None:
    def refuse(name: str, when: str, table: str, message: str, *, condition: str = "") -> None:
        clause = f"WHEN {condition}" if condition else ""
        op.execute(
            f"CREATE TRIGGER {name} {when} ON {table} {clause} BEGIN SELECT RAISE(ABORT, '{table}: {message}'); END"
        )

    for table in ADDED:
        refuse(f"{table}_update", "BEFORE UPDATE", table, "rows are never changed")
    for table in (*ADDED, *KEPT):
        refuse(f"{table}_delete", "BEFORE DELETE", table, "rows are never deleted")
    for table in (*PARTS, "version", "design_slot"):
        column = "id" if table == "version" else "version_id"
        for when, row in (("INSERT", "NEW"), ("UPDATE", "OLD"), ("DELETE", "OLD")):
            if when == "INSERT" and table not in PARTS:
                continue
            used = f"EXISTS (SELECT 1 FROM session WHERE version_id = {row}.{column})"  # noqa: S608 -- only constants
            refuse(f"{table}_in_use_{when.lower()}", f"BEFORE {when}", table, IN_USE, condition=used)
    sqlite_changed = _changed(FIXED_IN_RESPONSE).replace("IS DISTINCT FROM", "IS NOT")
    refuse("response_update", "BEFORE UPDATE", "response", "only what is current changes", condition=sqlite_changed)
    sqlite_changed = _changed(FIXED_IN_SESSION).replace("IS DISTINCT FROM", "IS NOT")
    refuse("session_update", "BEFORE UPDATE", "session", "this is never changed", condition=sqlite_changed)
    refuse("response_new", "BEFORE INSERT", "response", PARTIAL, condition="NEW.is_current")
    condition = f"NEW.is_current AND NOT coalesce({IS_PERMUTATION}, 0)"
    refuse("response_current", "BEFORE UPDATE", "response", PARTIAL, condition=condition)


def _postgresql() -> None:
    def function(name: str, condition: str, message: str) -> None:
        op.execute(
            f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $body$ BEGIN IF {condition} THEN "
            f"RAISE EXCEPTION '%: {message}', TG_TABLE_NAME USING ERRCODE = 'check_violation'; END IF; "
            "IF TG_OP = 'DELETE' THEN RETURN OLD; END IF; RETURN NEW; END $body$"
        )

    def trigger(name: str, when: str, table: str, called: str) -> None:
        op.execute(f"CREATE TRIGGER {name} BEFORE {when} ON {table} FOR EACH ROW EXECUTE FUNCTION {called}")

    function("survey_unchanged", "true", "rows are never changed")
    function("survey_undeleted", "true", "rows are never deleted")
    for table in ADDED:
        trigger(f"{table}_update", "UPDATE", table, "survey_unchanged()")
    for table in (*ADDED, *KEPT):
        trigger(f"{table}_delete", "DELETE", table, "survey_undeleted()")
    row = "CASE WHEN TG_OP = 'INSERT' THEN to_jsonb(NEW) ELSE to_jsonb(OLD) END"
    used = f"EXISTS (SELECT 1 FROM session WHERE version_id = (({row}) ->> TG_ARGV[0])::integer)"  # noqa: S608
    function("survey_in_use", used, IN_USE)
    for table in PARTS:
        trigger(f"{table}_in_use", "INSERT OR UPDATE OR DELETE", table, "survey_in_use('version_id')")
    trigger("design_slot_in_use", "UPDATE OR DELETE", "design_slot", "survey_in_use('version_id')")
    trigger("version_in_use", "UPDATE OR DELETE", "version", "survey_in_use('id')")
    function("survey_response_fixed", _changed(FIXED_IN_RESPONSE), "only what is current changes")
    trigger("response_update", "UPDATE", "response", "survey_response_fixed()")
    function("survey_session_fixed", _changed(FIXED_IN_SESSION), "this is never changed")
    trigger("session_update", "UPDATE", "session", "survey_session_fixed()")
    partial = f"NEW.is_current AND (TG_OP = 'INSERT' OR NOT coalesce({IS_PERMUTATION}, false))"
    function("survey_full_ranking", partial, PARTIAL)
    trigger("response_current", "INSERT OR UPDATE", "response", "survey_full_ranking()")
