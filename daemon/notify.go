package daemon

import (
	"fmt"
	"log/slog"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
)

// notifier tells systemd how the daemon is. Without systemd every call does
// nothing. The loop never waits for systemd, which may be busy for seconds: what
// it has to tell waits in a queue.
type notifier struct {
	log   *slog.Logger
	last  string
	queue chan string
}

// notifierQueue bounds what waits for systemd. There is little to tell; what
// comes when the queue is full is dropped, with a warning.
const notifierQueue = 64

func newNotifier(log *slog.Logger) *notifier {
	return &notifier{log: log, queue: make(chan string, notifierQueue)}
}

// run tells what is in the queue, until stopping was told.
func (n *notifier) run() {
	for message := range n.queue {
		if _, err := systemd.SdNotify(false, message); err != nil {
			n.log.Warn("tell systemd", "err", err)
		}
	}
}

// ready tells that the start or a reload is over.
func (n *notifier) ready(status string) {
	n.last = status
	n.send(systemd.SdNotifyReady + "\nSTATUS=" + status)
}

// status tells one line for `systemctl status`, when it has changed.
func (n *notifier) status(line string) {
	if line != n.last {
		n.last = line
		n.send("STATUS=" + line)
	}
}

// reloading tells that a reload has begun; ready ends it.
func (n *notifier) reloading() {
	n.send(fmt.Sprintf("%s\n%s", systemd.SdNotifyReloading, systemd.SdNotifyMonotonicUsec()))
}

// stopping tells that the daemon is on its way out. Nothing is told after it.
func (n *notifier) stopping() {
	n.send(systemd.SdNotifyStopping)
	close(n.queue)
}

// alive feeds the watchdog. The loop itself calls it, so that a loop which
// hangs is noticed.
func (n *notifier) alive() { n.send(systemd.SdNotifyWatchdog) }

// watchdogEvery returns how often alive must be called; 0 for never.
func watchdogEvery() time.Duration {
	limit, err := systemd.SdWatchdogEnabled(false)
	if err != nil || limit <= 0 {
		return 0
	}
	return limit / 3
}

func (n *notifier) send(message string) {
	select {
	case n.queue <- message:
	default:
		n.log.Warn("tell systemd", "err", "it takes nothing", "dropped", message)
	}
}
