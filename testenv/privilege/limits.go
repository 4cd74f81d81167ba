package privilege

import (
	"os"
	"strconv"
	"strings"
)

// Buffer returns the size that a socket buffer gets, as the kernel counts it, when
// a process that may not exceed the limit requests so many bytes. The limit is
// "rmem_max" for receiving or "wmem_max" for sending (socket(7)).
func Buffer(limit string, bytes int) (granted int, err error) {
	text, err := os.ReadFile("/proc/sys/net/core/" + limit)
	if err != nil {
		return 0, err
	}
	most, err := strconv.Atoi(strings.TrimSpace(string(text)))
	return 2 * min(bytes, most), err
}
