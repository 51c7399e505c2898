"""Turns the methods of the independent client pyvyos into a run against a router, unchanged.

usage: pyvyos_client.py HOST PORT     with the API key in BB_KEY and the CA in REQUESTS_CA_BUNDLE
Prints one line per step and ends with 1 at the first that is not as a real router answers.
"""

import os
import re
import sys

from pyvyos import VyDevice


def expect(what, got, wanted):
    if got != wanted:
        sys.exit(f"{what}: wanted {wanted!r}, got {got!r}")
    print(f"ok  {what}")


def main():
    host, port = sys.argv[1], int(sys.argv[2])
    device = VyDevice(
        hostname=host, apikey=os.environ["BB_KEY"], port=port, protocol="https", verify=True
    )

    answer = device.configure_set(path=["interfaces", "dummy", "dum1", "address", "10.0.0.1/32"])
    expect("set of one path", (answer.status, answer.result, answer.error), (200, None, False))

    answer = device.configure_set(
        path=[
            ["interfaces", "dummy", "dum1", "address", "10.0.0.2/32"],
            ["interfaces", "dummy", "dum1", "description", "by pyvyos"],
            ["interfaces", "dummy", "dum2"],
        ]
    )
    expect("set of many paths", (answer.status, answer.error), (200, False))

    answer = device.retrieve_show_config(path=["interfaces", "dummy", "dum1"])
    expect(
        "showConfig",
        answer.result,
        {"address": ["10.0.0.1/32", "10.0.0.2/32"], "description": "by pyvyos"},
    )
    answer = device.retrieve_return_values(path=["interfaces", "dummy", "dum1", "address"])
    expect("returnValues", answer.result, ["10.0.0.1/32", "10.0.0.2/32"])

    answer = device.configure_multiple_op(
        op_path=[
            {"op": "delete", "path": ["interfaces", "dummy", "dum2"]},
            {"op": "set", "path": ["interfaces", "dummy", "dum3", "address", "10.0.0.3/32"]},
        ]
    )
    expect("set and delete in one list", (answer.status, answer.error), (200, False))
    answer = device.configure_delete(path=["interfaces", "dummy", "dum3"])
    expect("delete", (answer.status, answer.error), (200, False))
    answer = device.retrieve_show_config(path=["interfaces", "dummy"])
    expect("what is left", list(answer.result["dummy"]), ["dum1"])

    answer = device.configure_set(path=["interfaces", "dummy", "dum1", "address", "10.0.0.0/24"])
    expect("a value that is refused", answer.status, 400)
    # pyvyos leaves an empty path out, which the server refuses.
    expect("no path at all", device.retrieve_show_config(path=[]).status, 400)

    expect("save", (device.config_file_save().result), "")
    expect("save to a file", device.config_file_save(file="/config/py.config").error, False)
    expect("load", device.config_file_load(file="/config/py.config").error, False)

    answer = device.show(path=["configuration", "commands"])
    line = "set interfaces dummy dum1 description 'by pyvyos'"
    expect("show", line in answer.result.splitlines(), True)
    answer = device.generate(path=["pki", "wireguard", "key-pair"])
    pair = r"Private key: [A-Za-z0-9+/]{43}=\nPublic key: [A-Za-z0-9+/]{43}=\n\n"
    expect("generate", bool(re.fullmatch(pair, answer.result)), True)

    stranger = VyDevice(hostname=host, apikey="wrong", port=port, protocol="https", verify=True)
    expect("a wrong key", stranger.show(path=["version"]).status, 401)


if __name__ == "__main__":
    main()
