// Package tui is the dashboard: live pages about a running daemon, on a terminal. It is
// an ordinary client of package control, needs no privilege except the permission to
// open the socket, and keeps running when the daemon stops.
//
// # How it works
//
// [Run] starts a Bubble Tea program around one [tea.Model]. All input arrives as
// messages: keys, the terminal's size, the time, and the daemon's answers and events.
// Update handles them one by one and changes the model; View turns the model into text.
// Work that waits for the daemon or the clock is done in commands, all of them in
// backend.go, and all of them have ended when Run returns.
//
// What is shown is a screen: a title, keys for the foot and the help, and a body drawn
// over a canvas (theme, size, time). The screens that a user can choose are pages. A
// page keeps what the user set on it, and draws from the Snapshot that the model hands
// to it, so that what it draws is a pure function of its settings, the snapshot, the
// terminal's size and the time. Tests compare it with files, to the character.
//
// A new page is a file with a type that implements page, and a line in newPages. The
// keys to choose it, its entries in foot and help, the head, the notices and the screen
// without a daemon come with that.
//
// # What a reader can rely on
//
// Every text from the daemon passes through Clean of control/say before it is measured or
// drawn, so that no name or reason controls the terminal. Everything that is kept is
// bounded: events, samples, sequence numbers. What is not measured is "-", never 0.
// Colour repeats what a word or a mark says already.
//
// # Where to look
//
//   - run.go: start and end
//   - model.go, connection.go: which screen is shown; what is known of the daemon
//   - backend.go: all that waits for the daemon and the clock
//   - snapshot.go, journal.go: what is known; the events
//   - screen.go: what a screen and a page are, the list of pages, the common keys
//   - overview.go with uplinks.go, crowd.go, problems.go, policies.go, events.go: the
//     overview, a page, and its sections
//   - help.go, offline.go: the screens that replace a page
//   - frame.go: head, notices and foot around every screen
//   - canvas.go, sections.go, table.go, trend.go: components that pages are made of:
//     text, sections that scroll, tables, trends
//   - line.go, theme.go, text.go: lines, appearance, cutting and wrapping of text
//   - quiet: prevents a library from querying the terminal when any command starts
package tui
