"""Options of the tests: the tables and the artifacts of one store, as `perfharvest demo` makes them."""

from pathlib import Path

import pytest


def pytest_addoption(parser):
    parser.addoption("--tables", type=Path, default=Path("datasets/demo/parquet"), help="folder of the Parquet tables")
    parser.addoption("--artifacts", type=Path, default=Path("datasets/demo"), help="folder of the artifacts")


@pytest.fixture
def tables(request):
    return request.config.getoption("--tables")


@pytest.fixture
def artifacts(request):
    return request.config.getoption("--artifacts")
