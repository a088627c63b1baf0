package sandbox

func Behaviours() []string { return nil }
