package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"swerve/testenv/lab"
	"swerve/testenv/netns"
	"swerve/testenv/tmux"
	"swerve/testenv/wait"
)

func TestAnswers(t *testing.T) {
	for typed, want := range map[string]bool{"y\n": true, " YES \n": true, "\n": false, "n\n": false, "": false, "y": false} {
		if got := isYes(t.Context(), strings.NewReader(typed)); got != want {
			t.Errorf("typed %q: %v, want %v", typed, got, want)
		}
	}
	nobody, _ := io.Pipe()
	defer nobody.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // Ctrl-C cancels the question as well
	if isYes(ctx, nobody) {
		t.Error("an interrupted question counts as yes")
	}
}

// The terminal is not examined if the user said no, and must be one if the user said
// yes. The tests' standard input is none.
func TestWanted(t *testing.T) {
	for flag, want := range map[string]string{"no": "", "ask": "", "yes": "is not a terminal", "perhaps": "want ask, yes or no"} {
		show, err := wanted(t.Context(), flag)
		if show || (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v; want an error with %q", flag, show, err, want)
		}
	}
}

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		columns, rows int
		direction     string
		size          int
		fits          bool
	}{
		{220, 50, "-h", 90, true},
		{200, 24, "-h", 80, true},
		{200, 23, "-h", 80, false},
		{199, 50, "-v", 25, true},
		{80, 40, "-v", 24, true},
		{80, 39, "-v", 24, false},
		{79, 60, "-v", 30, false},
	} {
		direction, size, fits := split(c.columns, c.rows)
		if direction != c.direction || size != c.size || fits != c.fits {
			t.Errorf("%d by %d: %s %d %v, want %s %d %v", c.columns, c.rows, direction, size, fits, c.direction, c.size, c.fits)
		}
	}
}

// multiplexer is the test's own tmux server, with the demo in its only window.
type multiplexer struct {
	*testing.T
	*tmux.Server
	folder string // for its socket, the programs, and all that the demo makes
}

// programs builds the demo and the daemon into a folder, which it returns.
func programs(t *testing.T) (folder string) {
	t.Helper()
	folder = t.TempDir()
	for _, command := range []string{"testenv/demo", "cmd/swerve"} {
		if _, err := lab.Build(folder, command); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// startDemo starts the demo in a window of 220 by 50, with additions to its environment,
// and answers its question with yes.
func startDemo(t *testing.T, environment string) *multiplexer {
	t.Helper()
	folder := programs(t)
	if err := os.Mkdir(folder+"/tmp", 0o700); err != nil {
		t.Fatal(err)
	}
	m := &multiplexer{t, tmux.Start(t, netns.New(t), folder), folder}
	m.Open("stage", 220, 50, fmt.Sprintf("env %s TMPDIR=%[2]s/tmp %[2]s/demo -swerve %[2]s/swerve", environment, folder))
	m.Shows("stage", "beside the timeline?")
	m.Press("stage", "y", "Enter")
	return m
}

// processes returns the command lines of the demo and all that it started, by process ID.
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
		for _, program := range []string{"", "tmux -u -S ", "tail -n +1 -f "} {
			if err == nil && strings.HasPrefix(args, program+m.folder) {
				found[pid] = args
			}
		}
	}
	return found
}

// noFileStays checks that the demo has deleted its files.
func (m *multiplexer) noFileStays() {
	m.Helper()
	if files, err := os.ReadDir(m.folder + "/tmp"); err != nil || len(files) > 0 {
		m.Errorf("files remain: %v, %v", files, err)
	}
}

// The dashboard is also shown if the demo runs in tmux. After Ctrl-C the timeline is on
// the terminal, and nothing else remains.
func TestDashboardBesideTheTimeline(t *testing.T) {
	for name, environment := range map[string]string{"in tmux": "", "on a terminal": "-u TMUX -u TMUX_PANE"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := startDemo(t, environment)
			m.Shows("stage", "swerve run, pid", "UPLINKS", "POLICIES", "── carrier lost")
			if n := len(m.processes()); n < 5 {
				t.Errorf("%d processes, want the demo, tmux with its client, the timeline, the daemon and the dashboard: %v", n, m.processes())
			}
			m.Press("stage", "C-c")
			m.Shows("stage", "exit code 1")
			for _, want := range []string{"swerve run, pid", "── carrier lost", "demo: ended early; nothing is left behind"} {
				if text := m.All("stage"); strings.Count(text, want) != 1 {
					t.Errorf("afterwards the terminal does not show %q once:\n%s", want, text)
				}
			}
			wait.For(t, "all processes to end", func() bool { return len(m.processes()) == 0 })
			m.noFileStays()
		})
	}
}

// Without a terminal the output is the timeline, readable in a file.
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

// Whichever part of it is killed, the rest ends as well.
func TestKilledDemo(t *testing.T) {
	for name, c := range map[string]struct {
		end    func(*multiplexer)
		killed bool // the demo itself had no time to delete its files
	}{
		"the demo":         {end: func(m *multiplexer) { m.kill(m.folder+"/demo ", syscall.SIGTERM) }},
		"the demo at once": {end: func(m *multiplexer) { m.kill(m.folder+"/demo ", syscall.SIGKILL) }, killed: true},
		"the timeline":     {end: func(m *multiplexer) { m.kill("tail ", syscall.SIGKILL) }},
		"the terminal":     {end: func(m *multiplexer) { m.Tmux("respawn-pane", "-k", "-t", "stage", "sleep 1000") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := startDemo(t, "-u TMUX -u TMUX_PANE")
			m.Shows("stage", "swerve run, pid", "UPLINKS")
			c.end(m)
			wait.For(t, "all processes to end", func() bool { return len(m.processes()) == 0 })
			if !c.killed {
				m.noFileStays()
			}
		})
	}
}

// kill sends a signal to the process whose command line has a prefix.
func (m *multiplexer) kill(beginning string, signal syscall.Signal) {
	m.Helper()
	for pid, args := range m.processes() {
		if strings.HasPrefix(args, beginning) {
			if err := syscall.Kill(pid, signal); err != nil {
				m.Fatalf("kill %s: %v", args, err)
			}
			return
		}
	}
	m.Fatalf("no such process among %v", m.processes())
}
