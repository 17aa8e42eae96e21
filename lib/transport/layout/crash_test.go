package layout

const childEnv = "LAYOUT_TEST_CHILD"

func child() int { return 0 }
