"""Where the deployed instance keeps its record of runs, `forget` redacts it too."""

import json
from pathlib import Path

import dagster as dg
import sqlalchemy as sa

from smotext_assets.graph.partitions import labels, runs
from tests.assets.conftest import Home, corpus_rows, write_corpus
from tests.assets.forgetting.test_forget import SECRET
from tests.assets.forgetting.test_record import as_an_older_version, failing_run
from tests.deploy.conftest import SECRETS


def rows_with(url: str, word: str) -> set[str]:
    """Tables of which a row has the word in any column."""
    engine, found = sa.create_engine(url), set()
    with engine.connect() as connection:
        for name in sa.inspect(connection).get_table_names():
            rows = connection.execute(sa.text(f'SELECT t::text FROM "{name}" t')).scalars()
            if any(word in row.lower() for row in rows):
                found.add(name)
    engine.dispose()
    return found


def test_forget_redacts_the_record_in_postgres(postgres: dict[str, str], tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus.csv", [*corpus_rows(), (SECRET, "medicine")])
    host, port = postgres["DAGSTER_PG_HOST"], postgres["DAGSTER_PG_PORT"]
    place = f"{host}:{port}/{postgres['DAGSTER_PG_DB']}"
    url = f"postgresql+psycopg2://dagster:{SECRETS['DAGSTER_PG_PASSWORD']}@{place}"
    folder = tmp_path / "dagster_home"
    folder.mkdir()
    settings = {
        "storage": {"postgres": {"postgres_url": url}},
        "telemetry": {"enabled": False},
    }
    (folder / "dagster.yaml").write_text(json.dumps(settings))
    home = Home(tmp_path / "home")
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        home.instance = instance
        assert home.main("run", str(corpus), "--run", "r1") == 0
        as_an_older_version(home)
        assert not failing_run(home).success
        assert rows_with(url, "zanzibar") >= {"event_logs", "asset_keys", "runs"}
        assert home.main("forget", "44") == 0
        assert rows_with(url, "zanzibar") == set()
        for run in instance.get_runs():  # Dagster can read its record
            assert instance.all_logs(run.run_id)
        for definition in (labels, runs):  # the server is others' too
            name = str(definition.name)
            for key in instance.get_dynamic_partitions(name):
                instance.delete_dynamic_partition(name, key)
