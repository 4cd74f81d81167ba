package packaging

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// confineWord as the first argument makes this program become a confined command,
// which the second argument describes. It restricts itself as systemd would restrict
// the unit, so that the tests need no running systemd.
const confineWord = "confine"

// confinement is a command line and its restrictions.
type confinement struct {
	// Root becomes the command's root folder: read-only, except for /proc and the
	// folders in Writable.
	Root     string
	Writable []string
	Args     []string
	Env      []string
	// Free leaves the command all privileges of root; what follows then has no
	// effect.
	Free     bool
	UID, GID int
	// Capabilities are the ambient ones, and the only ones.
	Capabilities []int
	// Families are the address families that sockets may have.
	Families []uint32
	// Umask is the mask of the modes of new files.
	Umask int
	// Calls are the numbers of the permitted system calls.
	Calls []uint32
}

// arguments returns the command line that runs the confined command.
func (c confinement) arguments() ([]string, error) {
	spec, err := json.Marshal(c)
	return []string{os.Args[0], confineWord, string(spec)}, err
}

// confine becomes the confined command; it returns only if that fails. It changes
// only its own thread, which is the one that survives execve.
func confine(spec string) error {
	runtime.LockOSThread()
	var c confinement
	if err := json.Unmarshal([]byte(spec), &c); err != nil {
		return err
	}
	if err := c.enter(); err != nil {
		return fmt.Errorf("enter %s: %w", c.Root, err)
	}
	unix.Umask(c.Umask)
	if !c.Free {
		if err := c.dropRights(); err != nil {
			return fmt.Errorf("drop rights: %w", err)
		}
		if err := c.forbid(); err != nil {
			return err
		}
	}
	// The change of user has reset it; the lab's daemons must end with their lab.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return err
	}
	return fmt.Errorf("execute %s: %w", c.Args[0], unix.Exec(c.Args[0], c.Args, c.Env))
}

// enter makes Root the root folder, in a mount namespace of this thread's own.
func (c confinement) enter() error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	mounts := []struct {
		from, to string
		flags    uintptr
	}{
		{"none", "/", unix.MS_REC | unix.MS_PRIVATE},
		{c.Root, c.Root, unix.MS_BIND},
	}
	for _, m := range mounts {
		if err := unix.Mount(m.from, m.to, "", m.flags, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.to, err)
		}
	}
	// As ProtectProc=invisible does: the processes of other users are not shown.
	proc := filepath.Join(c.Root, "proc")
	if err := unix.Mount("proc", proc, "proc", 0, "hidepid=invisible"); err != nil {
		return fmt.Errorf("mount %s: %w", proc, err)
	}
	for _, folder := range c.Writable {
		path := filepath.Join(c.Root, folder)
		if err := unix.Mount(path, path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s: %w", path, err)
		}
	}
	if err := unix.Mount("none", c.Root, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("make %s read-only: %w", c.Root, err)
	}
	return errors.Join(unix.Chroot(c.Root), unix.Chdir("/"))
}

// dropRights becomes the user, with only the capabilities that are given, and no way
// to gain others.
func (c confinement) dropRights() error {
	var mask uint32
	for _, n := range c.Capabilities {
		mask |= 1 << n
	}
	for n := range uintptr(unix.CAP_LAST_CAP + 1) {
		if mask&(1<<n) != 0 && n < 32 {
			continue
		}
		// EINVAL: newer than this kernel.
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, n, 0, 0, 0); err != nil && err != unix.EINVAL {
			return fmt.Errorf("bounding set: %w", err)
		}
	}
	if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("keep capabilities: %w", err)
	}
	if err := c.becomeUser(); err != nil {
		return err
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{{Effective: mask, Permitted: mask, Inheritable: mask}}
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fmt.Errorf("capset: %w", err)
	}
	for _, n := range c.Capabilities {
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(n), 0, 0); err != nil {
			return fmt.Errorf("ambient capability %d: %w", n, err)
		}
	}
	return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
}

// becomeUser changes only this thread, unlike the functions of package syscall.
func (c confinement) becomeUser() error {
	uid, gid := uintptr(c.UID), uintptr(c.GID)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); errno != 0 {
		return fmt.Errorf("setgroups: %w", errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, gid, gid, gid); errno != 0 {
		return fmt.Errorf("setresgid: %w", errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uid, uid, uid); errno != 0 {
		return fmt.Errorf("setresuid: %w", errno)
	}
	return nil
}

// Offsets in struct seccomp_data (linux/seccomp.h), on a little-endian machine.
const (
	seccompNumber   = 0
	seccompFirstArg = 16
)

// forbid makes the kernel refuse all system calls except Calls with EPERM, and
// sockets of families other than Families with EAFNOSUPPORT, as systemd does.
func (c confinement) forbid() error {
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	unless := func(value uint32) unix.SockFilter { // skips the next instruction unless the value is equal
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: value, Jf: 1}
	}
	end := func(verdict uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: verdict}
	}
	program := []unix.SockFilter{load(seccompNumber)}
	for _, call := range c.Calls {
		if call != unix.SYS_SOCKET {
			program = append(program, unless(call), end(unix.SECCOMP_RET_ALLOW))
		}
	}
	program = append(program,
		unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_SOCKET, Jt: 1},
		end(unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM)), load(seccompFirstArg))
	for _, family := range c.Families {
		program = append(program, unless(family), end(unix.SECCOMP_RET_ALLOW))
	}
	program = append(program, end(unix.SECCOMP_RET_ERRNO|uint32(unix.EAFNOSUPPORT)))
	fprog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&fprog)), 0, 0)
	if err != nil {
		return fmt.Errorf("seccomp: %w", err)
	}
	return nil
}
