package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

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
	system, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, os.NewSyscallError("fsopen", err)
	}
	defer unix.Close(system)
	for _, option := range [...][2]string{{"size", "64m"}, {"mode", "0755"}} {
		if err := unix.FsconfigSetString(system, option[0], option[1]); err != nil {
			return -1, os.NewSyscallError("fsconfig", err)
		}
	}
	if err := unix.FsconfigCreate(system); err != nil {
		return -1, os.NewSyscallError("fsconfig", err)
	}
	fd, err := unix.Fsmount(system, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
	return fd, os.NewSyscallError("fsmount", err)
}

// ReadOnlyCopy returns a folder in memory with copies of a folder's files, on a file
// system that nobody can write to. It disappears when its last user has left and close
// has been called.
func ReadOnlyCopy(of string) (path string, close func(), err error) {
	fd, err := detachedTmpfs()
	if err != nil {
		return "", nil, fmt.Errorf("lab: make a file system: %w", err)
	}
	s := &scratch{fd: fd, path: fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd)}
	files, err := os.ReadDir(of)
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(of, f.Name()))
		if err != nil { // removed meanwhile
			continue
		}
		if err := os.WriteFile(filepath.Join(s.path, f.Name()), data, 0o644); err != nil {
			s.close()
			return "", nil, fmt.Errorf("lab: copy %s: %w", f.Name(), err)
		}
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
	}
	if err != nil {
		s.close()
		return "", nil, fmt.Errorf("lab: a read-only copy of %s: %w", of, err)
	}
	return s.path, s.close, nil
}

// LeaveNoFiles makes the file system of a folder in memory full: no file can be added,
// while those that are there can grow. The restore makes room again. Other file systems
// are left as they are.
func LeaveNoFiles(folder string) (restore func() error, err error) {
	if own, err := OwnMemory(folder); err != nil || !own {
		return func() error { return nil }, err
	}
	var now unix.Statfs_t
	if err := unix.Statfs(folder, &now); err != nil {
		return nil, os.NewSyscallError("statfs", err)
	}
	restore = func() error { return setInodes(folder, now.Files) }
	for range 20 { // one may be removed, or added, meanwhile
		var at unix.Statfs_t
		if err = unix.Statfs(folder, &at); err != nil {
			break
		}
		if err = setInodes(folder, at.Files-at.Ffree); err == nil {
			return restore, nil
		}
	}
	return nil, fmt.Errorf("lab: leave no room for files: %w", err)
}

// mostOwn is the size of a file system that is surely a daemon's.
const mostOwn = 128 << 20

// OwnMemory reports whether a daemon's folder is on a file system of its own, in memory,
// and not on one of the machine's.
func OwnMemory(folder string) (bool, error) {
	var at unix.Statfs_t
	if err := unix.Statfs(folder, &at); err != nil {
		return false, os.NewSyscallError("statfs", err)
	}
	return at.Type == unix.TMPFS_MAGIC && at.Blocks*uint64(at.Bsize) <= mostOwn, nil
}

// setInodes sets how many files a tmpfs can hold.
func setInodes(folder string, most uint64) error {
	fd, err := unix.Fspick(unix.AT_FDCWD, folder, unix.FSPICK_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("fspick", err)
	}
	defer unix.Close(fd)
	if err := unix.FsconfigSetString(fd, "nr_inodes", strconv.FormatUint(most, 10)); err != nil {
		return os.NewSyscallError("fsconfig", err)
	}
	return os.NewSyscallError("fsconfig", unix.FsconfigReconfigure(fd))
}
