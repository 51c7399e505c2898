"""Turns the methods of the independent client proxmoxer into a guest's life, unchanged.

usage: proxmoxer_client.py HOST PORT   with op@pve's token secret in BB_TOKEN, root@pam's password
                                       in BB_PASSWORD and the CA in BB_CA
Prints one line per step and ends with 1 at the first that is not as a real cluster answers.
"""

import os
import sys

from proxmoxer import ProxmoxAPI, ResourceException
from proxmoxer.tools import Tasks


def expect(what, got, wanted):
    if got != wanted:
        sys.exit(f"{what}: wanted {wanted!r}, got {got!r}")
    print(f"ok  {what}")


def refused(what, wanted, call, *args, **kwargs):
    """A call that has to be refused with this status and these words."""
    try:
        call(*args, **kwargs)
    except ResourceException as error:
        text = f"{error.status_message} {error.content} {error.errors}"
        expect(what, (error.status_code, wanted[1] in text), (wanted[0], True))
        return
    sys.exit(f"{what}: not refused")


def main():
    host, port, ca = sys.argv[1], int(sys.argv[2]), os.environ["BB_CA"]
    op = ProxmoxAPI(
        host,
        port=port,
        user="op@pve",
        token_name="bitbuilder",
        token_value=os.environ["BB_TOKEN"],
        verify_ssl=ca,
    )
    root = ProxmoxAPI(
        host, port=port, user="root@pam", password=os.environ["BB_PASSWORD"], verify_ssl=ca
    )

    def task(what, upid, wanted="OK", by=op):
        done = Tasks.blocking_status(by, upid, timeout=30, polling_interval=0.05)
        expect(what, done and done["exitstatus"], wanted)

    expect("version", op.version.get()["release"], "9.1")
    node = op.nodes("pve1")
    vmid = int(op.cluster.nextid.get(vmid=5000))
    task(
        "clone",
        node.qemu(9000).clone.post(
            newid=vmid, name="witness", pool="bitbuilder", description="by proxmoxer"
        ),
    )
    refused("clone onto an id in use", (500, "already exists"),
            node.qemu(9000).clone.post, newid=vmid, pool="bitbuilder")
    guest = node.qemu(vmid)
    digest = guest.config.get()["digest"]
    task(
        "configure",
        guest.config.post(
            cores=2, memory=1024, tags="web;blue", ciuser="core",
            ipconfig0="ip=10.0.0.5/24,gw=10.0.0.1", digest=digest,
        ),
    )
    refused("configure with an old digest", (500, "checksum mismatch"),
            guest.config.post, cores=4, digest=digest)
    config = guest.config.get()
    expect(
        "config",
        {key: config[key] for key in ("cores", "memory", "tags", "name", "description")},
        {"cores": 2, "memory": "1024", "tags": "blue;web", "name": "witness",
         "description": "by proxmoxer"},
    )
    task("resize", guest.resize.put(disk="scsi0", size="4G"))
    volume = node.storage("ssd").content.post(vmid=900, filename="vm-900-data", size="1G")
    expect("volume under the holder", volume, "ssd:vm-900-data")
    guest.config.put(scsi1=f"{volume},serial=data")
    task("start", guest.status.start.post())
    task("start again", guest.status.start.post(), f"VM {vmid} already running")
    expect("status", guest.status.current.get()["status"], "running")
    guest.config.put(delete="scsi1")
    expect("detached", "scsi1" in guest.config.get(), False)
    refused("snapshot without the right", (403, "VM.Snapshot"),
            guest.snapshot.post, snapname="before")
    by_root = root.nodes("pve1").qemu(vmid)
    task("snapshot", by_root.snapshot.post(snapname="before"), by=root)
    names = [s["name"] for s in guest.snapshot.get()]
    expect("snapshots", names, ["before", "current"])
    task("delete snapshot", by_root.snapshot("before").delete(), by=root)
    refused("destroy while it runs", (500, "destroy failed"), guest.delete)
    task("stop", guest.status.stop.post())
    task("destroy", guest.delete(purge=1))
    refused("gone", (403, "VM.Audit"), guest.config.get)
    left = [v["volid"] for v in node.storage("ssd").content.get(vmid=900)]
    expect("the volume stays", left, ["ssd:vm-900-data"])
    task("free the volume", node.storage("ssd").content("vm-900-data").delete())


if __name__ == "__main__":
    main()
