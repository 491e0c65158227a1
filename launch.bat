@echo off
rem Double-click launcher for Windows: finds a Python and starts Atelier.
setlocal
set "CHECK=import sys; sys.exit(sys.version_info < (3, 11))"
for %%P in ("py -3" "python" "python3") do (
    %%~P -c "%CHECK%" >nul 2>nul && (
        set "PYTHON=%%~P"
        goto found
    )
)
echo Atelier needs Python 3.11 or newer, and none was found on this computer.
echo Install it from https://www.python.org/downloads/ (tick "Add python.exe to PATH"), then start again.
pause
exit /b 1

:found
%PYTHON% "%~dp0launch.py" %*
set "STATUS=%ERRORLEVEL%"
rem keep the window open, so that the message can be read; 130 is Ctrl-C
if not "%STATUS%"=="0" if not "%STATUS%"=="130" pause
exit /b %STATUS%
