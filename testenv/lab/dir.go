package lab

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// scratch is a folder in memory that only a descriptor of this process refers to: it
// is mounted nowhere and disappears with the process, even when that is killed. Where
// the kernel refuses, as in a user namespace without its own mounts, it is an ordinary
// temporary folder, deleted by close.
type scratch struct {
	fd   int    // -1: an ordinary folder
	path string // through /proc, for any process that may read this one's descriptors
}

func newScratch() (*scratch, error) {
	if fd, err := detachedTmpfs(); err == nil {
		return &scratch{fd: fd, path: fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd)}, nil
	}
	path, err := os.MkdirTemp("", "swerve-lab-")
	if err != nil {
		return nil, fmt.Errorf("lab: make a folder for a daemon: %w", err)
	}
	return &scratch{fd: -1, path: path}, nil
}

func (s *scratch) close() {
	if s.fd >= 0 {
		unix.Close(s.fd)
		return
	}
	os.RemoveAll(s.path)
}

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
