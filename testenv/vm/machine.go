package vm

import (
	"archive/tar"
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"swerve/testenv/netns"
	"swerve/testenv/wait"
)

// Card is a network card of the guest: the link in a namespace whose cable it is on,
// which is also its name in the monitor, and its address. With a VLAN, the card has the
// link's frames tagged, and no others.
type Card struct {
	Link, MAC string
	VLAN      uint16 // 0: none
}

// Machine is a running guest.
type Machine struct {
	cards  []Card
	folder string // of sockets, console and files
	cables []*cable
	qemu   *exec.Cmd
	ended  chan struct{} // closed when QEMU has ended
	tasks  sync.WaitGroup

	listeners []net.Listener
	monitor   net.Conn
	answers   *bufio.Reader // of the monitor

	mu      sync.Mutex
	channel net.Conn
	next    int
	waiting map[int]chan Result
	boots   []string // the ID of each, in order
}

// Result is what a command in the guest wrote, to both outputs, and its exit code.
type Result struct {
	Output string
	Code   int
}

// patience bounds a boot under software emulation on a busy machine; silence is how
// long the console of a guest that boots may be silent before it is ended.
const (
	patience = 6 * time.Minute
	silence  = 2 * time.Minute
	attempts = 3
)

// Boot starts a guest and waits until it takes commands. Its cards are on the links of a
// namespace. The files are in the guest's /mnt/files, by their base names.
func Boot(ctx context.Context, image Image, ns *netns.NS, cards []Card, files []string) (*Machine, error) {
	var errs []error
	for n := range attempts {
		kvm := n == 0 && kvm()
		m, err := start(image, ns, cards, files, kvm)
		if err != nil && kvm {
			kvmFails = true // QEMU does not get along with this one
			errs = append(errs, err)
			continue
		}
		if err != nil {
			return nil, err
		}
		if err = m.awaitBoot(ctx, kvm); err == nil {
			if err := m.unpack(ctx); err != nil {
				m.Close()
				return nil, err
			}
			return m, nil
		}
		errs = append(errs, fmt.Errorf("%w\nconsole: %s", err, tail(m.Console())))
		m.Close()
	}
	return nil, fmt.Errorf("vm: the guest does not boot: %w", errors.Join(errs...))
}

// unpack puts the files of the second disk into the guest's /mnt/files.
func (m *Machine) unpack(ctx context.Context) error {
	r, err := m.Run(ctx, "mkdir -p /mnt/files && tar -C /mnt/files -xf /dev/vdb")
	if err == nil && r.Code != 0 {
		err = errors.New(r.Output)
	}
	if err != nil {
		return fmt.Errorf("vm: unpack the files: %w", err)
	}
	return nil
}

// kvmFails is set where QEMU ended, or a guest was silent, with KVM: later ones do not try it.
var kvmFails bool

func kvm() bool {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil || kvmFails {
		return false
	}
	f.Close()
	return true
}

func start(image Image, ns *netns.NS, cards []Card, files []string, kvm bool) (m *Machine, err error) {
	m = &Machine{cards: cards, ended: make(chan struct{}), waiting: map[int]chan Result{}}
	defer func() {
		if err != nil {
			m.Close()
		}
	}()
	if m.folder, err = os.MkdirTemp("", "swerve-vm-"); err != nil {
		return nil, err
	}
	for _, c := range cards {
		cable, err := newCable(ns, c, m.folder)
		if err != nil {
			return nil, err
		}
		m.cables = append(m.cables, cable)
	}
	if err := pack(filepath.Join(m.folder, "files.tar"), files); err != nil {
		return nil, err
	}
	commands, err := net.Listen("unix", filepath.Join(m.folder, "commands"))
	if err != nil {
		return nil, err
	}
	monitor, err := net.Listen("unix", filepath.Join(m.folder, "monitor"))
	if err != nil {
		return nil, err
	}
	m.listeners = []net.Listener{commands, monitor}
	m.qemu = exec.Command("qemu-system-x86_64", m.args(image, kvm)...)
	log, err := os.Create(filepath.Join(m.folder, "qemu"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	m.qemu.Stdout, m.qemu.Stderr = log, log
	if err := m.qemu.Start(); err != nil {
		m.qemu = nil
		return nil, fmt.Errorf("vm: %w", err)
	}
	go func() {
		_ = m.qemu.Wait()
		close(m.ended)
		commands.Close()
		monitor.Close()
	}()
	if m.channel, err = commands.Accept(); err != nil {
		return nil, fmt.Errorf("vm: QEMU ended: %s", m.read("qemu"))
	}
	m.tasks.Go(m.receive)
	if m.monitor, err = monitor.Accept(); err != nil {
		return nil, fmt.Errorf("vm: QEMU ended: %s", m.read("qemu"))
	}
	m.answers = bufio.NewReader(m.monitor)
	if _, err := m.answers.ReadString('\n'); err != nil { // its greeting
		return nil, err
	}
	return m, m.ask("qmp_capabilities", nil)
}

// args are QEMU's.
func (m *Machine) args(image Image, kvm bool) []string {
	accel, cpu := "tcg", "max"
	if kvm {
		// Where this machine is a guest itself, its own host may refuse what QEMU sets there.
		accel, cpu = "kvm", "host,arch-capabilities=off"
	}
	in := func(name string) string { return filepath.Join(m.folder, name) }
	args := []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35", "-accel", accel, "-cpu", cpu, "-smp", "1", "-m", "768",
		"-kernel", image.file("vmlinuz"), "-initrd", image.file("initrd"),
		"-append", "root=/dev/vda rw console=ttyS0 panic=3 net.ifnames=0 quiet loglevel=4 systemd.show_status=1 mitigations=off",
		"-drive", "if=virtio,format=raw,snapshot=on,cache=unsafe,file=" + image.file("disk"),
		"-drive", "if=virtio,format=raw,readonly=on,file=" + in("files.tar"),
		"-device", "virtio-rng-pci",
		"-serial", "file:" + in("console"),
		"-device", "virtio-serial-pci",
		"-chardev", "socket,id=commands,path=" + in("commands"),
		"-device", "virtserialport,chardev=commands,name=commands",
		"-qmp", "unix:" + in("monitor"),
	}
	for _, c := range m.cards {
		args = append(args,
			"-netdev", fmt.Sprintf("stream,id=%s,server=off,addr.type=unix,addr.path=%s", c.Link, in(c.Link)),
			"-device", fmt.Sprintf("virtio-net-pci,id=card-%s,netdev=%s,mac=%s,romfile=", c.Link, c.Link, c.MAC))
	}
	return args
}

// pack writes a tar archive of files.
func pack(path string, files []string) error {
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	defer out.Close()
	w := tar.NewWriter(out)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err == nil {
			err = w.WriteHeader(&tar.Header{Name: filepath.Base(file), Mode: 0o755, Size: int64(len(data))})
		}
		if err == nil {
			_, err = w.Write(data)
		}
		if err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	_, err = out.Write(make([]byte, 1<<20)) // a disk ends at a sector
	return err
}

// Close ends the guest at once.
func (m *Machine) Close() {
	if m.qemu != nil {
		_ = m.qemu.Process.Kill()
		<-m.ended
	}
	for _, c := range m.cables {
		c.close()
	}
	for _, l := range m.listeners {
		l.Close()
	}
	for _, c := range []net.Conn{m.channel, m.monitor} {
		if c != nil {
			c.Close()
		}
	}
	m.tasks.Wait()
	_ = os.RemoveAll(m.folder)
}

// Console is what the guest wrote to its console so far.
func (m *Machine) Console() string { return m.read("console") }

func (m *Machine) read(name string) string {
	data, _ := os.ReadFile(filepath.Join(m.folder, name))
	return string(data)
}

// awaitBoot waits until the guest takes commands for the first time.
func (m *Machine) awaitBoot(ctx context.Context, kvm bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	quiet := silence
	if kvm {
		quiet = 20 * time.Second
	}
	last, size := time.Now(), 0
	err := wait.Until(ctx, "the guest to boot", func() bool {
		if n := len(m.Console()); n != size {
			last, size = time.Now(), n
		}
		return m.Boots() > 0 || time.Since(last) > quiet || m.dead()
	})
	if err != nil || m.Boots() > 0 {
		return err
	}
	kvmFails = kvmFails || kvm
	if m.dead() {
		return fmt.Errorf("QEMU ended: %s", m.read("qemu"))
	}
	return fmt.Errorf("the console was silent for %v", quiet)
}

func (m *Machine) dead() bool {
	select {
	case <-m.ended:
		return true
	default:
		return false
	}
}

// Boots is how often the guest has booted.
func (m *Machine) Boots() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.boots)
}

// receive hands out what the guest answers.
func (m *Machine) receive() {
	from := bufio.NewReaderSize(m.channel, 1<<20)
	for {
		line, err := from.ReadString('\n')
		if err != nil {
			return
		}
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		if words[0] == "ready" {
			m.booted(words[1])
			continue
		}
		number, err1 := strconv.Atoi(words[0])
		code, err2 := strconv.Atoi(words[1])
		r := Result{Code: code}
		if len(words) > 2 {
			data, _ := base64.StdEncoding.DecodeString(words[2])
			r.Output = string(data)
		}
		if err1 == nil && err2 == nil {
			m.answer(number, r)
		}
	}
}

func (m *Machine) booted(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := len(m.boots); n == 0 || m.boots[n-1] != id {
		m.boots = append(m.boots, id)
	}
}

func (m *Machine) answer(number int, r Result) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if ch := m.waiting[number]; ch != nil {
		ch <- r
		delete(m.waiting, number)
	}
}

// Run runs a shell command in the guest to its end.
func (m *Machine) Run(ctx context.Context, command string) (Result, error) {
	m.mu.Lock()
	m.next++
	number, ch := m.next, make(chan Result, 1)
	m.waiting[number] = ch
	_, err := fmt.Fprintf(m.channel, "%d %s\n", number, base64.StdEncoding.EncodeToString([]byte(command)))
	m.mu.Unlock()
	if err != nil {
		return Result{}, fmt.Errorf("vm: %s: %w", command, err)
	}
	select {
	case r := <-ch:
		return r, nil
	case <-m.ended:
		return Result{}, fmt.Errorf("vm: %s: QEMU ended: %s", command, m.read("qemu"))
	case <-ctx.Done():
		return Result{}, fmt.Errorf("vm: %s: %w", command, context.Cause(ctx))
	}
}

// Reboot reboots the guest and waits until it takes commands again. One that says
// nothing on its console for long is reset, as by a watchdog.
func (m *Machine) Reboot(ctx context.Context) error {
	before := m.Boots()
	m.mu.Lock()
	_, err := io.WriteString(m.channel, "0 "+base64.StdEncoding.EncodeToString([]byte("systemctl reboot"))+"\n")
	m.mu.Unlock()
	if err != nil {
		return fmt.Errorf("vm: reboot: %w", err)
	}
	for range attempts {
		if err = m.awaitReboot(ctx, before); err == nil || m.dead() {
			break
		}
		if err := m.ask("system_reset", nil); err != nil {
			return err
		}
	}
	if err == nil && m.dead() {
		err = fmt.Errorf("vm: reboot: QEMU ended: %s", m.read("qemu"))
	}
	return err
}

// awaitReboot waits until the guest has booted more often than before, or is silent.
func (m *Machine) awaitReboot(ctx context.Context, before int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	last, size := time.Now(), 0
	err := wait.Until(ctx, "the guest to boot again", func() bool {
		if n := len(m.Console()); n != size {
			last, size = time.Now(), n
		}
		return m.Boots() > before || time.Since(last) > silence || m.dead()
	})
	if err == nil && m.Boots() <= before && !m.dead() {
		err = fmt.Errorf("vm: reboot: the console was silent for %v", silence)
	}
	return err
}

// SetCarrier plugs a card's cable in, or pulls it.
func (m *Machine) SetCarrier(link string, on bool) error {
	return m.ask("set_link", map[string]any{"name": "card-" + link, "up": on})
}

// ask gives the monitor a command, and waits for its answer.
func (m *Machine) ask(command string, arguments map[string]any) error {
	request := map[string]any{"execute": command}
	if arguments != nil {
		request["arguments"] = arguments
	}
	if err := json.NewEncoder(m.monitor).Encode(request); err != nil {
		return fmt.Errorf("vm: monitor: %s: %w", command, err)
	}
	for {
		line, err := m.answers.ReadBytes('\n')
		if err != nil {
			return fmt.Errorf("vm: monitor: %s: %w", command, err)
		}
		var answer struct {
			Return json.RawMessage
			Error  *struct{ Desc string }
		}
		switch err := json.Unmarshal(line, &answer); {
		case err != nil:
			return fmt.Errorf("vm: monitor: %s: %w", command, err)
		case answer.Error != nil:
			return fmt.Errorf("vm: monitor: %s: %s", command, answer.Error.Desc)
		case answer.Return != nil:
			return nil
		}
	}
}
