import pytest

from meterhall.collect.hostmetrics import storage
from meterhall.collect.hostmetrics.page import Page, Roots

MOUNTINFO = (
    "22 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw\n"
    "23 22 0:5 / /proc rw - proc proc rw\n"
    "24 22 0:6 / /dev/shm rw - tmpfs tmpfs rw\n"
    "25 22 8:1 / /mnt/a\\040b\\134c ro - xfs /dev/sda1 rw\n"
    "26 22 8:1 / /mnt/a\\040b\\134c ro - xfs /dev/sda1 rw\n"
    "27 22 8:2 / /gone rw - nfs4 server:/x ro\n"
)


def rendered(source, root):
    page = Page()
    source(page, Roots(root))
    return page.render().decode()


def test_mounts(tmp_path):
    (tmp_path / "proc/1").mkdir(parents=True)
    (tmp_path / "proc/1/mountinfo").write_text(MOUNTINFO)
    (tmp_path / "mnt/a b\\c").mkdir(parents=True)
    page = rendered(storage.filesystem, tmp_path)
    sizes = [line for line in page.splitlines() if line.startswith("node_filesystem_size_bytes{")]
    assert len(sizes) == 2
    assert 'mountpoint="/mnt/a b\\\\c"' in sizes[1]
    readonly = (
        'node_filesystem_readonly{device="/dev/sda1",device_error="",fstype="xfs",mountpoint='
    )
    assert readonly + '"/mnt/a b\\\\c"} 1' in page
    assert (
        'node_filesystem_device_error{device="server:/x",device_error="no such file or directory",'
        'fstype="nfs4",mountpoint="/gone"} 1'
    ) in page
    assert "/proc" not in page
    assert "/dev/shm" not in page


@pytest.mark.parametrize(
    ("device", "kept"),
    [
        ("vda", True),
        ("vda1", False),
        ("sda", True),
        ("sdaa", True),
        ("sda15", False),
        ("nvme0n1", True),
        ("nvme0n1p2", False),
        ("loop0", False),
        ("zram0", False),
        ("dm-0", True),
        ("md127", True),
    ],
)
def test_disks(device, kept, tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/diskstats").write_text(f" 8 0 {device} 1 2 3 4 5 6 7 8 9 10 11\n")
    page = rendered(storage.diskstats, tmp_path)
    assert (f'node_disk_read_bytes_total{{device="{device}"}} 1536\n' in page) is kept
    assert (f'node_disk_io_time_seconds_total{{device="{device}"}} 0.01\n' in page) is kept
    # An old kernel's line ends before the discards.
    assert "discard" not in page
