"""Which boot of the host this is, and when it began."""


def boot_id() -> bytes:
    """Return the kernel's random name of this boot."""
    with open("/proc/sys/kernel/random/boot_id", "rb") as file:
        return file.read().strip()


def booted_ns() -> int:
    """Return when this boot began, in nanoseconds since 1970 and to the second, by what the clock says now."""
    with open("/proc/stat", "rb") as file:
        for line in file:
            if line.startswith(b"btime "):
                return int(line.split()[1]) * 10**9
    raise OSError("/proc/stat does not say when the host was booted")
