package policy

// Remembered returns how many single look-ups are remembered.
func (p *Places) Remembered() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.singles)
}
