def to_c(tree): return ""
def to_python(tree): return ""
