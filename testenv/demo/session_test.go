package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"swerve/testenv/netns"
	"swerve/testenv/tmux"
)

// multiplexer is a tmux server of the test's own, with the demo in its one window.
type multiplexer struct {
	*testing.T
	*tmux.Server
	folder string // of its socket, of the programs, and of all that the demo makes
}

// programs builds the demo and the daemon into a folder, which it returns.
func programs(t *testing.T) (folder string) {
	t.Helper()
	folder = t.TempDir()
	for name, pkg := range map[string]string{"demo": "swerve/testenv/demo", "swerve": "swerve/cmd/swerve"} {
		if out, err := exec.Command("go", "build", "-o", filepath.Join(folder, name), pkg).CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", pkg, err, out)
		}
	}
	return folder
}

// startDemo starts the demo in a window of 220 by 50, with more in its environment.
func startDemo(t *testing.T, environment string) *multiplexer {
	t.Helper()
	folder := programs(t)
	if err := os.Mkdir(folder+"/tmp", 0o700); err != nil {
		t.Fatal(err)
	}
	m := &multiplexer{t, tmux.Start(t, netns.New(t), folder), folder}
	m.Tmux("new-session", "-d", "-s", "stage", "-x", "220", "-y", "50",
		fmt.Sprintf("env %s TMPDIR=%[2]s/tmp %[2]s/demo -swerve %[2]s/swerve; echo exit code $?; sleep 1000", environment, m.folder))
	return m
}

// screen is what all panes show.
func (m *multiplexer) screen() string {
	m.Helper()
	text := ""
	for pane := range strings.FieldsSeq(m.Tmux("list-panes", "-s", "-t", "stage", "-F", "#{pane_id}")) {
		if out, err := m.Client("capture-pane", "-p", "-S", "-", "-t", pane).Output(); err == nil { // it may just have gone
			text += string(out)
		}
	}
	return text
}

func (m *multiplexer) eventually(what string, holds func() bool) {
	m.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			m.Fatalf("waited in vain for %s; the terminal shows\n%s", what, m.screen())
		}
	}
}

func (m *multiplexer) shows(texts ...string) {
	m.Helper()
	for _, text := range texts {
		m.eventually(fmt.Sprintf("%q", text), func() bool { return strings.Contains(m.screen(), text) })
	}
}

// processes are the command lines of the demo's programs by process, the tmux around
// its session included.
func (m *multiplexer) processes() map[int]string {
	found := map[int]string{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		line, err := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		args := strings.ReplaceAll(string(line), "\x00", " ")
		if err == nil && (strings.HasPrefix(args, m.folder) || strings.HasPrefix(args, "tmux -u -S "+m.folder)) {
			found[pid] = args
		}
	}
	return found
}

// nothingStays wants one pane, no process and no file of the demo's.
func (m *multiplexer) nothingStays() {
	m.Helper()
	m.eventually("all processes to end", func() bool { return len(m.processes()) == 0 })
	if panes := m.Tmux("list-panes", "-s", "-t", "stage"); strings.Count(panes, "\n") != 1 {
		m.Errorf("panes stay:\n%s", panes)
	}
	if files, err := os.ReadDir(m.folder + "/tmp"); err != nil || len(files) > 0 {
		m.Errorf("files stay: %v, %v", files, err)
	}
}

// The dashboard is shown in the tmux that the demo is in, or in one of its own.
// After Ctrl-C the timeline stands on the terminal, and nothing else is left.
func TestDashboardBesideTheTimeline(t *testing.T) {
	for name, environment := range map[string]string{"here": "", "own session": "-u TMUX -u TMUX_PANE"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := startDemo(t, environment)
			m.shows("beside the timeline?")
			m.Tmux("send-keys", "-t", "stage", "y", "Enter")
			m.shows("swerve run, pid", "UPLINKS", "POLICIES", "── carrier lost")
			if len(m.processes()) < 3 {
				t.Errorf("the demo, the daemon and the dashboard should run: %v", m.processes())
			}
			m.Tmux("send-keys", "-t", "stage", "C-c")
			m.shows("exit code 1")
			for _, want := range []string{"swerve run, pid", "── carrier lost", "demo: ended early; nothing is left behind"} {
				if text := m.screen(); strings.Count(text, want) != 1 {
					t.Errorf("afterwards the terminal does not show %q once:\n%s", want, text)
				}
			}
			m.nothingStays()
		})
	}
}

// Without a terminal the output is the timeline, and reads well in a file.
func TestTimelineInAFile(t *testing.T) {
	folder := programs(t)
	cmd := exec.Command(folder+"/demo", "-swerve", folder+"/swerve")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	limit := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer limit.Stop()
	var text strings.Builder
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		fmt.Fprintln(&text, lines.Text())
		if strings.Contains(lines.Text(), "── carrier lost") {
			_ = cmd.Process.Signal(syscall.SIGINT)
		}
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("the demo that was interrupted ended with %v", err)
	}
	if got := text.String(); !strings.HasPrefix(got, intro) || !strings.Contains(got, "── carrier lost") || strings.ContainsAny(got, "\x1b\r?") {
		t.Errorf("the file has\n%q", got)
	}
}

// However a part of it is killed, the rest ends as well.
func TestKilledDemo(t *testing.T) {
	for name, end := range map[string]func(*multiplexer){
		"the demo in its pane": func(m *multiplexer) { m.kill(syscall.SIGKILL, true) },
		"the one around it":    func(m *multiplexer) { m.kill(syscall.SIGTERM, false) },
		"the terminal":         func(m *multiplexer) { m.Tmux("respawn-pane", "-k", "-t", "stage", "sleep 1000") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := startDemo(t, "-u TMUX -u TMUX_PANE")
			m.shows("beside the timeline?")
			m.Tmux("send-keys", "-t", "stage", "y", "Enter")
			m.shows("swerve run, pid", "UPLINKS")
			end(m)
			m.nothingStays()
		})
	}
}

// kill sends a signal to the demo in its session, or to the one around it.
func (m *multiplexer) kill(signal syscall.Signal, inner bool) {
	m.Helper()
	for pid, args := range m.processes() {
		if strings.HasPrefix(args, m.folder+"/demo ") && strings.Contains(args, "-timeline=") == inner {
			if err := syscall.Kill(pid, signal); err != nil {
				m.Fatalf("kill %s: %v", args, err)
			}
			return
		}
	}
	m.Fatalf("no such demo among %v", m.processes())
}
