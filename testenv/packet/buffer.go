package packet

import (
	"os"

	"golang.org/x/sys/unix"
)

// Buffer gives a socket a receive buffer of so many bytes, or as many as the
// machine grants if that is less, and returns the resulting size as the kernel counts
// it, which is twice the requested one. The limit net.core.rmem_max may be exceeded
// only in the initial user namespace, and only with CAP_NET_ADMIN.
func Buffer(fd, bytes int) (granted int, err error) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, bytes) != nil {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, bytes); err != nil {
			return 0, os.NewSyscallError("SO_RCVBUF", err)
		}
	}
	granted, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	return granted, os.NewSyscallError("SO_RCVBUF", err)
}
