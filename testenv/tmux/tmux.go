// Package tmux gives tests a real terminal: their own server of tmux(1), which the
// kernel kills with the namespace that it runs in, however the test ends.
package tmux

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"swerve/testenv/netns"
	"swerve/testenv/wait"
)

// Server is a tmux server without a session yet.
type Server struct {
	t      testing.TB
	folder string // of its socket
}

// Start starts a server in a namespace, with its socket in a folder, and waits until
// it answers. It ends with the test.
func Start(t testing.TB, ns *netns.NS, folder string) *Server {
	t.Helper()
	s := &Server{t, folder}
	server := ns.Command("tmux", "-L", "test", "-f", "/dev/null", "-D")
	server.Env = s.environment()
	if err := ns.Start(server); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.Client("kill-server").Run() // or it has ended
		_ = server.Wait()                 // its exit code does not matter
	})
	wait.For(t, "tmux to answer", func() bool { return s.Client("start-server").Run() == nil })
	return s
}

// environment is that of a terminal with UTF-8 and colours.
func (s *Server) environment() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "TERM=xterm-256color", "TMUX_TMPDIR=" + s.folder}
}

// Client prepares a tmux command for the server. It never starts a server itself (-N):
// one started too early would take the socket, and exit again for lack of a session.
func (s *Server) Client(args ...string) *exec.Cmd {
	cmd := exec.Command("tmux", append([]string{"-N", "-u", "-L", "test"}, args...)...)
	cmd.Env = s.environment()
	return cmd
}

// Tmux runs a tmux command and returns its output. A failure ends the test.
func (s *Server) Tmux(args ...string) string {
	s.t.Helper()
	out, err := s.Client(args...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("tmux %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Open runs a shell command line in a terminal of that name and size, which then shows
// its exit code and stays open.
func (s *Server) Open(name string, width, height int, command string) {
	s.t.Helper()
	s.Tmux("new-session", "-d", "-s", name, "-x", fmt.Sprint(width), "-y", fmt.Sprint(height),
		command+`; echo "exit code $?"; sleep 1000`)
}

// Press sends keys to a terminal, by tmux's names for them.
func (s *Server) Press(name string, keys ...string) {
	s.t.Helper()
	s.Tmux(append([]string{"send-keys", "-t", name}, keys...)...)
}

// Page returns what a terminal shows, All also what it has shown before.
func (s *Server) Page(name string) string { return s.Tmux("capture-pane", "-p", "-t", name) }
func (s *Server) All(name string) string  { return s.Tmux("capture-pane", "-p", "-S", "-", "-t", name) }

// Shows waits until a terminal's page has all those texts, and returns it.
func (s *Server) Shows(name string, texts ...string) (page string) {
	s.t.Helper()
	missing := ""
	err := wait.Until(s.t.Context(), fmt.Sprintf("a page with %q", texts), func() bool {
		page, missing = s.Page(name), ""
		for _, text := range texts {
			if !strings.Contains(page, text) {
				missing = text
			}
		}
		return missing == ""
	})
	if err != nil {
		s.t.Fatalf("%v; %q is not on\n%s", err, missing, page)
	}
	return page
}
