"""Tests of the ports and child processes of this machine."""

from livesegments.local_servers import free_ports

FIRST_PORT_OF_CLIENTS = 32_768  # on Linux


def test_free_ports_are_distinct_and_none_that_clients_get() -> None:
    ports = [*free_ports(200), *free_ports(200)]
    assert len(set(ports)) == 400
    assert max(ports) < FIRST_PORT_OF_CLIENTS
