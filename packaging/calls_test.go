package packaging

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// systemService returns the numbers of the system calls in systemd's group
// @system-service, without those in @privileged and @resources, that this machine's
// architecture has.
func systemService(t *testing.T) (numbers []uint32) {
	t.Helper()
	known := callNumbers(t)
	denied := read(t, "testdata/privileged-resources.txt")
	for name := range strings.Lines(read(t, "testdata/system-service.txt")) {
		if n, ok := known[strings.TrimSpace(name)]; ok && !strings.Contains(denied, "\n"+strings.TrimSpace(name)+"\n") {
			numbers = append(numbers, n)
		}
	}
	if len(numbers) < 200 {
		t.Fatalf("only %d system calls are known by name", len(numbers))
	}
	return numbers
}

// callNumbers returns the numbers of this machine's system calls by name. It reads
// them from the source of golang.org/x/sys, which exports no such table.
func callNumbers(t *testing.T) map[string]uint32 {
	t.Helper()
	folder := strings.TrimSpace(output(t, "go", "list", "-m", "-f", "{{.Dir}}", "golang.org/x/sys"))
	source := read(t, filepath.Join(folder, "unix", "zsysnum_linux_"+runtime.GOARCH+".go"))
	numbers := map[string]uint32{}
	for _, m := range regexp.MustCompile(`(?m)^\s*SYS_(\w+)\s*=\s*(\d+)$`).FindAllStringSubmatch(source, -1) {
		n, err := strconv.ParseUint(m[2], 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		numbers[strings.ToLower(m[1])] = uint32(n)
	}
	return numbers
}

// The lists have all calls of systemd's own groups, if systemd is of the same version.
func TestSystemServiceIsSystemds(t *testing.T) {
	out, err := exec.Command("systemd-analyze", "--version").Output()
	if err != nil || !strings.HasPrefix(string(out), "systemd 252 ") {
		t.Logf("no systemd 252 here to compare with (%v)", err)
		return
	}
	for group, file := range map[string]string{
		"@system-service": "system-service.txt", "@privileged": "privileged-resources.txt", "@resources": "privileged-resources.txt",
	} {
		listed := read(t, "testdata/"+file)
		for _, call := range expand(t, group) {
			if !strings.Contains(listed, "\n"+call+"\n") {
				t.Errorf("%s of %s is missing in %s", call, group, file)
			}
		}
	}
}

// expand returns the system calls of one of systemd's groups.
func expand(t *testing.T, group string) (calls []string) {
	t.Helper()
	for line := range strings.Lines(output(t, "systemd-analyze", "syscall-filter", group)) {
		name := strings.TrimSpace(line)
		switch {
		case name == "" || name[0] == '#' || name == group:
		case name[0] == '@':
			calls = append(calls, expand(t, name)...)
		default:
			calls = append(calls, name)
		}
	}
	return calls
}
