#compdef cloaca
# Completion of the cloaca command for zsh. The command itself knows what may come next.
local -a candidates
candidates=(${(f)"$(${words[1]} __complete ${words[2,CURRENT-1]} 2>/dev/null)"})
if (( ${#candidates} )); then
    compadd -- $candidates
else
    _files
fi
