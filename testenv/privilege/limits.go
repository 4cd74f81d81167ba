package privilege

import (
	"os"
	"strconv"
	"strings"
)

// Buffer is the size of a socket's buffer, in the kernel's own count, where
// somebody asks for so many bytes who may not exceed the limit: "rmem_max" for
// receiving, "wmem_max" for sending (socket(7)).
func Buffer(limit string, bytes int) (granted int, err error) {
	text, err := os.ReadFile("/proc/sys/net/core/" + limit)
	if err != nil {
		return 0, err
	}
	most, err := strconv.Atoi(strings.TrimSpace(string(text)))
	return 2 * min(bytes, most), err
}
