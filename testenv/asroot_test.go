package testenv

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// Where an ordinary user may not create namespaces, as-root names the setting that
// forbids it and fails. Each user namespace limits the number of those inside it.
func TestAsRootSaysWhatForbids(t *testing.T) {
	script, err := os.Open("as-root")
	if err != nil {
		t.Fatal(err)
	}
	defer script.Close()
	cmd := exec.Command("sh", "-c", "echo 0 >/proc/sys/user/max_user_namespaces && "+
		"exec setpriv --reuid=1000 --regid=1000 --clear-groups sh -s -- echo it ran")
	cmd.Stdin, cmd.Dir = script, "/"
	ids := []syscall.SysProcIDMap{{Size: 1}, {ContainerID: 1, HostID: 1, Size: 60000}} // the container's own mapping
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true,
	}
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("as-root ended with %v, want exit code 1", err)
	}
	if text := string(out); strings.Contains(text, "it ran") || !strings.Contains(text, "sudo sysctl user.max_user_namespaces=") ||
		!strings.Contains(text, "run make as root") {
		t.Errorf("as-root says\n%s", text)
	}
}
