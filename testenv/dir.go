package testenv

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// scratch is a folder in memory that this process holds by a descriptor alone: it
// is mounted nowhere and goes with the process, even when that is killed.
type scratch struct {
	fd   int
	path string // through /proc, for any process with the right to look in there
}

func newScratch() (*scratch, error) {
	fd, err := detachedTmpfs()
	if err != nil {
		return nil, fmt.Errorf("testenv: make a folder in memory: %w", err)
	}
	return &scratch{fd: fd, path: fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd)}, nil
}

func (s *scratch) close() { unix.Close(s.fd) }

func detachedTmpfs() (int, error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, os.NewSyscallError("fsopen", err)
	}
	defer unix.Close(fs)
	for _, option := range [...][2]string{{"size", "64m"}, {"mode", "0755"}} {
		if err := unix.FsconfigSetString(fs, option[0], option[1]); err != nil {
			return -1, os.NewSyscallError("fsconfig", err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, os.NewSyscallError("fsconfig", err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
	return fd, os.NewSyscallError("fsmount", err)
}
