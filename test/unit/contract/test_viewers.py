"""What to open in which viewer."""

from urllib.parse import parse_qs, urlsplit

from lawam_ros.contract.viewers import PORTS, VIEWERS, rerun_data_address, viewer_address


def test_every_viewer_has_a_port_of_its_own():
    taken = [PORTS["foxglove"], PORTS["rerun"], PORTS["rerun"] + 1]
    assert set(PORTS) == set(VIEWERS) and len(set(taken)) == 3


def test_foxglove_is_a_websocket():
    assert viewer_address("foxglove", "127.0.0.1", 8765) == "ws://127.0.0.1:8765"


def test_reruns_page_is_told_where_its_data_are():
    page = urlsplit(viewer_address("rerun", "0.0.0.0", 9090))
    assert page.netloc == "127.0.0.1:9090"
    assert parse_qs(page.query)["url"] == [rerun_data_address("127.0.0.1", 9090)] == ["rerun+http://127.0.0.1:9091/proxy"]
