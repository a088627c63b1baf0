package sandbox

// Behaviours lists what the sandbox does and how sure it is of it.
func Behaviours() []string { return nil }
